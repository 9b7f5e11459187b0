import { Router, type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { assembleEndpoint } from '../mcp-endpoint.js';
import { resolveOptions } from '../options/resolve.js';
import type { Sessions } from '../sessions/session-api.js';
import { shareHiddenClasses } from './hidden-class.js';
import { createEndpointCheck, withoutTrailingSlash } from './mount.js';
import type { McpRouterOptions } from './router-options.js';

/** What {@link mcpRouter} returns: an Express router, and what an app needs to watch and to stop it. */
export interface McpRouter extends Router {
  /**
   * Answers CORS preflights of `allowedOrigins`. Mount it before the authentication, as browsers send no token with a preflight.
   * It also sets the CORS headers on every answer that follows, so that pages can read a refusal by the authentication. It
   * refuses a Host or Origin as the router does. Requests for other paths than the endpoint's pass.
   *
   * @example
   * ```ts
   * app.use('/mcp', mcp.preflight, requireBearerAuth({ verifier }), mcp);
   * ```
   */
  readonly preflight: RequestHandler;
  /** Prometheus text format; 404 with `metrics: false`. */
  readonly metrics: RequestHandler;
  /** 200 as long as the process answers. */
  readonly health: RequestHandler;
  /** 200 while new sessions are taken, else 503. */
  readonly ready: RequestHandler;
  readonly sessions: Sessions;
  /**
   * Stops in peace: refuses new sessions, lets requests finish for at most `timeoutMs`, then ends standalone streams so that
   * their clients reconnect elsewhere, and closes. Idempotent. Resolves when all is closed, at the latest a few seconds after
   * `timeoutMs`, even if a server, a store or Redis hangs. The process lives until then.
   *
   * Rejects with a TypeError, and stops nothing, when `timeoutMs` is not from 0 to 2,147,483,647 (a longer timer of Node's
   * fires at once).
   */
  drain(timeoutMs: number): Promise<void>;
  /**
   * Ends everything now: every reply ends, every handler's `signal` aborts. Idempotent. Resolves when all is closed, within
   * seconds even if a server, a store or Redis hangs. The process lives until then.
   */
  close(): Promise<void>;
}

/**
 * Makes an Express router that serves the Model Context Protocol over Streamable HTTP, with a server of its own for each
 * client's session.
 *
 * @throws TypeError for options that are unknown, of a wrong type or at odds with each other.
 *
 * @example
 * ```ts
 * const mcp = mcpRouter({ serverFactory: () => buildServer() });
 * app.use('/mcp', mcp);
 * ```
 */
export function mcpRouter(options: McpRouterOptions): McpRouter {
  const resolved = resolveOptions(options);
  const endpoint = assembleEndpoint(resolved);
  const { handle, ...others } = endpoint;
  const isEndpoint = createEndpointCheck(resolved.path);
  const preflight: RequestHandler = (req, res, next) => {
    if (!isEndpoint(req, preflight) || !endpoint.preflight(req, res)) next();
  };
  const hasMetrics = resolved.metrics !== false;
  const metrics: RequestHandler = (req, res, next) => (hasMetrics ? endpoint.metrics(req, res) : next());
  const metricsPath = hasMetrics && resolved.metrics.route !== false ? '/metrics' : undefined;

  const router = Router();
  router.use((req: Request, res: Response, next: NextFunction) => {
    if (isEndpoint(req, router)) {
      shareHiddenClasses(req, res);
      handle(req, res);
    } else if (withoutTrailingSlash(req.path) === metricsPath) {
      endpoint.metrics(req, res);
    } else next();
  });

  return Object.assign(router, others, { preflight, metrics });
}
