/** The entry of `express-mcp-router/redis`. */
export type { Clock } from '../runtime/clock.js';
export type { NodeRedisClient, NodeRedisSentinel, RedisAccess, RedisOptions, SendCommand } from './redis-client.js';
export { redisEventStore, type RedisEventStoreOptions } from './redis-event-store.js';
export { redisStore, type RedisStoreOptions } from './redis-store.js';
export type { SessionEventStore } from './session-event-store.js';
export type { SessionStore, StoredRecord } from './session-store.js';
export type * from '../protocol/messages.js';
export type { EventStore } from '../protocol/wire-transport.js';
