import http, { IncomingMessage, ServerResponse, type RequestListener } from 'node:http';
import https from 'node:https';
import { markPrototype } from './hidden-class.js';

/**
 * A replacement for `http.createServer(app)` that makes an Express app faster. The app behaves in the same way.
 *
 * Express replaces the prototypes of each request and response by `app.request` and `app.response`. After that, V8 up to Node 23
 * gives each message a hidden class of its own. This server creates its messages with the app's prototypes, so Express changes
 * nothing. You can still add methods to `app.request` and `app.response` at any time. Mounted apps still set their prototypes.
 *
 * A request listener that is not an Express app (a function, a router) gets Node's server unchanged. So does every app on Bun.
 *
 * Node itself, and listeners that run before the app (`upgrade`, `checkContinue`, an earlier `request` one), see Express'
 * properties, too. So an accessor on `app.request` or `app.response` must not have the name of a field that Node sets (`url`,
 * `method`, `socket`, ...). With `http.createServer`, Node's own field hides the accessor. Here, Node would call its setter.
 *
 * @param app - The Express app (4 or 5), or any other request listener.
 * @param options - Node's options. Their `IncomingMessage` and `ServerResponse` classes replace the app's prototypes.
 * @returns Node's own server, not yet listening.
 *
 * @example
 * ```ts
 * const app = express();
 * app.use('/mcp', mcpRouter({ serverFactory }));
 * createHttpServer(app).listen(3000);
 * ```
 */
export function createHttpServer(app: RequestListener, options: http.ServerOptions = {}): http.Server {
  return http.createServer({ ...options, ...messageClasses(app, options) }, app);
}

/**
 * {@link createHttpServer} for HTTPS: a replacement for `https.createServer(options, app)`.
 *
 * @param app - The Express app (4 or 5), or any other request listener.
 * @param options - Node's options, such as `key` and `cert`.
 * @returns Node's own server, not yet listening.
 *
 * @example
 * ```ts
 * createHttpsServer(app, { key: readFileSync('key.pem'), cert: readFileSync('cert.pem') }).listen(443);
 * ```
 */
export function createHttpsServer(app: RequestListener, options: https.ServerOptions): https.Server {
  return https.createServer({ ...options, ...messageClasses(app, options) }, app);
}

type MessageClasses = Pick<http.ServerOptions, 'IncomingMessage' | 'ServerResponse'>;

/** The classes for the server. Classes in the options are kept, and Express then replaces the prototypes of their messages. */
function messageClasses(app: RequestListener, options: MessageClasses): MessageClasses {
  // Bun's constructors do not initialize `this` when they are called as functions.
  if (process.versions.bun !== undefined) return {};
  const { request, response } = app as { request?: unknown; response?: unknown };
  if (!(request instanceof IncomingMessage) || !(response instanceof ServerResponse)) return {};
  if (isClass(IncomingMessage) || isClass(ServerResponse)) return {};
  return {
    IncomingMessage: options.IncomingMessage ?? withPrototype(IncomingMessage, request),
    ServerResponse: options.ServerResponse ?? withPrototype(ServerResponse, response),
  };
}

/** Node's message constructors are functions (up to Node 25). A class could not be called as {@link withPrototype} does. */
function isClass(constructor: object): boolean {
  return Function.prototype.toString.call(constructor).startsWith('class');
}

/**
 * Node's class with another prototype for its objects. Express' `setPrototypeOf` has no effect only if the prototype is the same
 * object, not one that inherits from it (ECMA-262, OrdinarySetPrototypeOf). A `class` cannot do this, as its `prototype` is
 * read-only. `Reflect.construct` with another `new.target` takes V8 a hundred times as long. The function inherits from Node's
 * function, so that V8 can predict the number of fields.
 */
function withPrototype<Class extends typeof IncomingMessage | typeof ServerResponse>(
  nodeClass: Class,
  prototype: object,
): Class {
  const construct = nodeClass as unknown as (this: unknown, first: unknown, second: unknown) => void;
  function Message(this: unknown, first: unknown, second: unknown): void {
    construct.call(this, first, second);
  }
  Object.setPrototypeOf(Message, nodeClass);
  Message.prototype = prototype;
  markPrototype(prototype);
  return Message as unknown as Class;
}
