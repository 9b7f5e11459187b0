import type { Request, RequestHandler } from 'express';

/** The documented parts of `req.route` (Express). */
interface Route {
  readonly path: unknown;
  readonly stack: readonly { readonly handle: unknown }[];
}

/** Express matches a path with and without a slash at its end. */
export function withoutTrailingSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/**
 * Makes a check whether a request that reaches a handler of the router is for the MCP endpoint. The path below the mount decides.
 * If the handler belongs to a route (`app.all('/route', router)`), Express strips nothing from the path, and the route decides.
 *
 * @param path - The endpoint's path below the mount, by the option `path`. If it is set, only this path is the endpoint.
 */
export function createEndpointCheck(path: string | undefined): (req: Request, handler: RequestHandler) => boolean {
  return (req, handler) => {
    if (withoutTrailingSlash(req.path) === (path ?? (req.baseUrl === '' ? '/mcp' : '/'))) return true;
    return path === undefined && isHandlerOfRoute(req.route as Route | undefined, handler);
  };
}

/** `req.route` may be an earlier match, so it must contain the handler. A route with a wildcard does not name one path. */
function isHandlerOfRoute(route: Route | undefined, handler: RequestHandler): boolean {
  if (route === undefined || !route.stack.some(({ handle }) => handle === handler)) return false;
  return [route.path].flat().every((path) => typeof path === 'string' && !path.includes('*'));
}
