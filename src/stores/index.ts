export type { Clock } from '../runtime/clock.js';
export { keyvStore, type KeyvLike, type KeyvStoreOptions } from './keyv-store.js';
export { memoryEventStore, type MemoryEventStore, type MemoryEventStoreOptions } from './memory-event-store.js';
export { memoryStore, type MemoryStoreOptions } from './memory-store.js';
export type { SessionEventStore } from './session-event-store.js';
export type { SessionStore, StoredRecord } from './session-store.js';
export type * from '../protocol/messages.js';
export type { EventStore } from '../protocol/wire-transport.js';
