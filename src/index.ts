export { mcpRouter, type McpRouter } from './router.js';
export type {
  IdentifiableRequest,
  McpRouterOptions,
  McpServerLike,
  MetricsOptions,
  PrincipalFunction,
  ServerContext,
  ServerFactory,
} from './options.js';
export type { CloseReason, OrphanCause, SessionEvents, SessionInfo, SessionState, SessionStats } from './events.js';
export type { Clock } from './clock.js';
export { mcpErrorHandler } from './http/error-handler.js';
export {
  bearerPrincipal,
  trustedProxyPrincipal,
  type BearerOptions,
  type TrustedProxyOptions,
} from './http/identity.js';
export { createHttpServer, createHttpsServer } from './http/server.js';
export { principalOf, type AuthSubject, type PrincipalRef } from './sessions/principal-name.js';
export { memoryEventStore, type MemoryEventStoreOptions } from './stores/memory-event-store.js';
