/** The exports that both entries have, with Express and without it. Nothing in it imports Express. */
export type {
  ClusterOptions,
  ContextState,
  EndpointMetricsOptions,
  Era,
  HttpRequest,
  McpEndpointOptions,
  McpServerLike,
  OpeningRequest,
  ServerContext,
  ServerFactory,
} from './options/options.js';
export type { NativeServer, PerRequestSdk } from './options/per-request-sdk.js';
export type { Telemetry } from './options/telemetry.js';
export type { CacheHint, PerRequestOptions } from './options/resolve-per-request.js';
export type {
  CloseReason,
  ErrorType,
  OrphanCause,
  Outcome,
  Party,
  RejectReason,
  SessionEvents,
  SessionInfo,
  SessionReports,
  SessionState,
  SessionStats,
  SessionStreams,
  StreamEnd,
  StreamKind,
} from './events.js';
export type { Sessions } from './sessions/session-api.js';
export type { Notify } from './notify/notify.js';
export type { Notified, NotifyTarget } from './notify/notification.js';
export type { Clock } from './runtime/clock.js';
export {
  bearerPrincipal,
  trustedProxyPrincipal,
  type BearerOptions,
  type TrustedProxyOptions,
} from './http/identity.js';
export { HttpError, type HttpErrorOptions } from './http-error.js';
export { stop, trackConnections, type Drainable, type StopOptions } from './http/stop.js';
export { principalOf, type AuthSubject, type PrincipalRef } from './sessions/principal-name.js';
export { memoryEventStore, type MemoryEventStore, type MemoryEventStoreOptions } from './stores/memory-event-store.js';
export type {
  NodeRedisClient,
  NodeRedisSentinel,
  RedisAccess,
  RedisOptions,
  SendCommand,
} from './stores/redis-client.js';
export type { SessionEventStore } from './stores/session-event-store.js';
export type { SessionStore, StoredRecord } from './stores/session-store.js';
export type * from './protocol/client.js';
export type * from './protocol/messages.js';
export type { AuthInfo, EventStore, MessageExtraInfo, WireTransport } from './protocol/wire-transport.js';
