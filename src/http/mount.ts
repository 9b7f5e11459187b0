import type { Request, RequestHandler } from 'express';

/** As Express documents `req.route`. */
interface Route {
  readonly path: unknown;
  readonly stack: readonly { readonly handle: unknown }[];
}

/** Express matches a path with and without the slash at its end. */
export function withoutTrailingSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/**
 * Whether a request that reaches a handler of the router is for the MCP endpoint: by its path below the mount, or because the
 * handler itself is the handler of a route (`app.all('/route', router)`), where Express takes nothing off the path.
 *
 * @param path - Of the endpoint below the mount, where the option says so: then it alone counts.
 */
export function createEndpointCheck(path: string | undefined): (req: Request, handler: RequestHandler) => boolean {
  return (req, handler) => {
    if (withoutTrailingSlash(req.path) === (path ?? (req.baseUrl === '' ? '/mcp' : '/'))) return true;
    return path === undefined && isHandlerOfRoute(req.route as Route | undefined, handler);
  };
}

/** A route that was matched earlier stays in `req.route`, so the handler must be one of its own. A wildcard says no path. */
function isHandlerOfRoute(route: Route | undefined, handler: RequestHandler): boolean {
  if (route === undefined || !route.stack.some(({ handle }) => handle === handler)) return false;
  return [route.path].flat().every((path) => typeof path === 'string' && !path.includes('*'));
}
