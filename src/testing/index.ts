export { sessionStoreContract, type ContractCase, type ContractInit } from './session-store-contract.js';
export type { SessionStore, StoredRecord } from '../stores/session-store.js';
