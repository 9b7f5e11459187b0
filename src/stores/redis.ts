/** The entry of `express-mcp-router/redis`. */
export type { NodeRedisClient, RedisAccess, RedisOptions, SendCommand } from './redis-client.js';
export { redisEventStore, type RedisEventStoreOptions } from './redis-event-store.js';
export { redisStore, type RedisStoreOptions } from './redis-store.js';
