export * from './common-exports.js';
export { mcpRouter, type McpRouter } from './express/router.js';
export type { IdentifiableRequest, McpRouterOptions, PrincipalFunction } from './express/router-options.js';
export type { MetricsOptions, MountOptions } from './options/options.js';
export { mcpErrorHandler } from './express/error-handler.js';
export { createHttpServer, createHttpsServer } from './express/http-server.js';
