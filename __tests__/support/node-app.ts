import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Stands for Express where HTTP=node: routes requests on plain node:http, and adds nothing to them.

type Next = (error?: unknown) => void;
type Handler = (req: IncomingMessage, res: ServerResponse, next: Next) => unknown;
type ErrorHandler = (error: unknown, ...args: Parameters<Handler>) => unknown;

interface Layer {
  readonly path: string;
  readonly method: string | undefined;
  /** Whether the layer also takes the paths below its own. */
  readonly below: boolean;
  readonly handle: Handler | ErrorHandler;
}

const bases = new WeakMap<IncomingMessage, string>();

/** The path at which the handler of a request is mounted. */
export const baseOf = (req: IncomingMessage): string => bases.get(req) ?? '';

/** The path of a request below the mount of its handler. */
export function pathOf(req: IncomingMessage): string {
  // RFC 9112, 3.2.2: a server must accept the absolute form, too.
  const target = (req.url ?? '/').replace(/^https?:\/\/[^/?]*/, '');
  const path = target.split('?', 1)[0]!.slice(baseOf(req).length);
  return path === '' ? '/' : path;
}

const isMounted = ({ path, below }: Layer, asked: string): boolean =>
  asked === path || asked === `${path}/` || (below && asked.startsWith(path === '/' ? '/' : `${path}/`));

function nodeApp() {
  const layers: Layer[] = [];
  const add = (method: string | undefined, below: boolean, [first, ...rest]: readonly unknown[]) => {
    const [path, handlers] = typeof first === 'string' ? [first, rest] : ['/', [first, ...rest]];
    for (const handle of handlers.flat() as Handler[]) layers.push({ path, method, below, handle });
    return app;
  };

  const app = (req: IncomingMessage, res: ServerResponse, done: Next = (error) => end(res, error)): void => {
    const base = baseOf(req);
    const queue = layers.values();
    const next: Next = (error) => {
      bases.set(req, base);
      const { value: layer, done: over } = queue.next();
      if (over === true) return done(error);
      const { path, method, below, handle } = layer;
      const takesErrors = handle.length === 4;
      if (!isMounted(layer, pathOf(req)) || takesErrors !== (error !== undefined)) return next(error);
      if (method !== undefined && method !== req.method) return next(error);
      if (below && path !== '/') bases.set(req, base + path);
      try {
        if (takesErrors) (handle as ErrorHandler)(error, req, res, next);
        else (handle as Handler)(req, res, next);
      } catch (thrown) {
        next(thrown);
      }
    };
    next();
  };

  return Object.assign(app, {
    use: (...args: unknown[]) => add(undefined, true, args),
    all: (...args: unknown[]) => add(undefined, false, args),
    get: (...args: unknown[]) => add('GET', false, args),
    post: (...args: unknown[]) => add('POST', false, args),
    listen: (...args: unknown[]): Server => createServer(app).listen(...(args as Parameters<Server['listen']>)),
  });
}

function end(res: ServerResponse, error: unknown): void {
  if (res.headersSent) res.destroy();
  else res.writeHead(error === undefined ? 404 : ((error as { status?: number }).status ?? 500)).end();
}

/** The body parsers of Express need nothing of Express. */
const { json, raw, text, urlencoded } = createRequire(join(process.cwd(), 'package.json'))(
  'express/lib/express.js',
) as Record<'json' | 'raw' | 'text' | 'urlencoded', unknown>;

export default Object.assign(nodeApp, { json, raw, text, urlencoded });
