import type { IncomingMessage, ServerResponse } from 'node:http';
import type { McpEndpointOptions, MetricsOptions } from '../../src/options/options.js';
import { createMcpEndpoint } from '../../src/node.js';
import { baseOf, pathOf } from './node-app.js';

// Stands for the entry `express-mcp-router` where HTTP=node: the same tests go through `createMcpEndpoint`.

export * from '../../src/node.js';
export { mcpErrorHandler } from '../../src/express/error-handler.js';
export { createHttpServer, createHttpsServer } from '../../src/express/http-server.js';

interface RouterOptions extends McpEndpointOptions {
  readonly path?: string;
  readonly metrics?: MetricsOptions | false;
}

/** Routes requests to an endpoint as an app on plain node:http does. */
export function mcpRouter({ path, ...options }: RouterOptions) {
  const { route = true, ...metrics } = options.metrics === false ? { route: false } : (options.metrics ?? {});
  const endpoint = createMcpEndpoint({ ...options, metrics: options.metrics === false ? false : metrics });
  const isEndpoint = (req: IncomingMessage): boolean => pathOf(req) === (path ?? (baseOf(req) === '' ? '/mcp' : '/'));
  const router = (req: IncomingMessage, res: ServerResponse, next: () => void): void => {
    if (isEndpoint(req)) endpoint.handle(req, res);
    else if (route && pathOf(req) === '/metrics') endpoint.metrics(req, res);
    else next();
  };
  const preflight = (req: IncomingMessage, res: ServerResponse, next: () => void): void => {
    if (!isEndpoint(req) || !endpoint.preflight(req, res)) next();
  };
  return Object.assign(router, endpoint, { preflight });
}
