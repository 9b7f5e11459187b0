import http, { IncomingMessage, ServerResponse, type RequestListener } from 'node:http';
import https from 'node:https';
import { markPrototype } from './hidden-class.js';

/**
 * A drop-in for `http.createServer(app)` that makes an Express app faster; whatever the app does, it does the same.
 *
 * Express gives each request and response the app's prototypes (`app.request`, `app.response`) by
 * `Object.setPrototypeOf`, after which V8, up to Node 23, no longer finds them alike. Node lets a server choose the
 * classes of its messages; here they are born with the app's prototypes, and Express finds nothing to change. Methods
 * that you add to `app.request` and `app.response`, now or later, are there as ever; mounted apps still get theirs.
 *
 * Anything but an Express app (a plain function, a router) gets Node's server unchanged. So does every app on Bun.
 *
 * Listeners that see a message before the app does (`upgrade`, `checkContinue`, an earlier `request` one) see Express'
 * properties on it already, and so does Node itself. Hence an accessor on `app.request` or `app.response` must not bear
 * the name of a field that Node sets (`url`, `method`, `socket`, ...): with `http.createServer` it has no effect, as
 * Node's own field hides it; here it would catch Node's assignment.
 *
 * @param app - The Express app (4 or 5), or any other request listener.
 * @param options - Node's. Its `IncomingMessage` and `ServerResponse` classes win over the app's prototypes.
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
 * {@link createHttpServer} for HTTPS: a drop-in for `https.createServer(options, app)`.
 *
 * @param app - The Express app (4 or 5), or any other request listener.
 * @param options - Node's: `key`, `cert` and the rest.
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

/** Those of the options stay, whose messages Express then changes. */
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

/** Node's message constructors are functions (up to 25); as classes they could not be called as below. */
function isClass(constructor: object): boolean {
  return Function.prototype.toString.call(constructor).startsWith('class');
}

/**
 * Node's class, but for the prototype of what it makes. It must be that very object, not one that inherits from it, for
 * Express' `setPrototypeOf` to be without effect (ECMA-262, OrdinarySetPrototypeOf: same value, nothing done). A `class`
 * cannot say so, as its `prototype` is read-only, and `Reflect.construct` with another `new.target` takes V8 a hundred times
 * as long. To inherit from Node's function lets V8 foresee how many fields the object gets.
 */
function withPrototype<Class extends typeof IncomingMessage | typeof ServerResponse>(
  nodeClass: Class,
  prototype: object,
): Class {
  const construct = nodeClass as unknown as (this: unknown, first: unknown, second: unknown) => void;
  function Born(this: unknown, first: unknown, second: unknown): void {
    construct.call(this, first, second);
  }
  Object.setPrototypeOf(Born, nodeClass);
  Born.prototype = prototype;
  markPrototype(prototype);
  return Born as unknown as Class;
}
