import {
  Router,
  type IRouterMatcher,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import { assembleEndpoint } from '../mcp-endpoint.js';
import type { Notify } from '../notify/notify.js';
import { resolveOptions } from '../options/resolve.js';
import type { Sessions } from '../sessions/session-api.js';
import { shareHiddenClasses } from './hidden-class.js';
import { createEndpointCheck, withoutTrailingSlash } from './mount.js';
import type { McpRouterOptions } from './router-options.js';

/** The result of {@link mcpRouter}: an Express router, with functions to observe and to stop it. */
export interface McpRouter extends Router {
  /**
   * Answers CORS preflights of `allowedOrigins`. Mount it before the authentication, as browsers send no token with a preflight.
   * It also sets the CORS headers on every answer that follows, so that pages can read a refusal by the authentication. It
   * refuses a Host or Origin as the router does. It ignores requests for other paths than that of the endpoint.
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
  /** 200 while new sessions are accepted, else 503. */
  readonly ready: RequestHandler;
  readonly sessions: Sessions;
  /** Tells clients something from outside a request. Called as a function, it adds a route for the HTTP method NOTIFY. */
  readonly notify: Notify & IRouterMatcher<this>;
  /**
   * Refuses new sessions, lets requests finish for at most `timeoutMs`, ends standalone streams so that their clients reconnect
   * to another process, and closes. Idempotent. Resolves when all sessions are closed. That is a few seconds after `timeoutMs` at
   * the latest, even if a server, a store or Redis hangs. The process stays alive until then.
   *
   * Rejects with a TypeError, and stops nothing, when `timeoutMs` is not from 0 to 2,147,483,647. A longer timer of Node fires at
   * once.
   */
  drain(timeoutMs: number): Promise<void>;
  /**
   * Ends all sessions now: every reply ends, every handler's `signal` aborts. Idempotent. Resolves when all sessions are closed,
   * within seconds even if a server, a store or Redis hangs. The process stays alive until then.
   */
  close(): Promise<void>;
}

/**
 * Makes an Express router that serves the Model Context Protocol over Streamable HTTP, with a server of its own for each
 * client's session.
 *
 * @throws TypeError when an option is unknown or of a wrong type, or when two options contradict each other.
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

  // Express gives a router a method for each HTTP method, NOTIFY of UPnP among them.
  const notify = Object.assign(router.notify.bind(router), endpoint.notify);
  return Object.assign(router, others, { preflight, metrics, notify });
}
