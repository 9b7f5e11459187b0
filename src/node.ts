/** The entry of `express-mcp-router/node`: everything for an app on plain `node:http`. Nothing in it imports Express. */
export * from './common-exports.js';
export { createMcpEndpoint, type HttpHandler, type McpEndpoint } from './mcp-endpoint.js';
export type { PrincipalFunction } from './options/options.js';
