export { sessionStoreContract, type ContractCase, type ContractInit } from './session-store-contract.js';
export { fakeClock, type FakeClock } from './fake-clock.js';
export { parseReply, testClient, type TestClient, type TestClientOptions, type TestReply } from './test-client.js';
export type { SessionStore, StoredRecord } from '../stores/session-store.js';
export type { Clock } from '../runtime/clock.js';
export type * from '../protocol/messages.js';
