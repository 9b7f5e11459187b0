import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';

/** The parts of an {@link HttpError} beside its status. */
export interface HttpErrorOptions {
  /** The JSON-RPC error code. Default: -32000. */
  code?: number | undefined;
  /** The JSON-RPC message, which the client gets. Default: the name of the status, such as `Forbidden`. */
  message?: string | undefined;
  /** Headers of the answer, such as `Retry-After`. Default: `WWW-Authenticate: Bearer` for 401, `Retry-After: 5` for 429 and 503. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** The reason, for the log only. Without one nothing is logged. */
  cause?: unknown;
}

/** Marks the errors of every copy of this package: an app may load it as ES module and as CommonJS, each with a class of its own. */
const MARK = Symbol.for('express-mcp-router.HttpError');

/**
 * Refuses a request with a status of the app's choice. `serverFactory`, the option `principal`, and middleware before
 * `mcpErrorHandler()` may throw it. The client gets the status with a JSON-RPC error. Any other error is answered with 500, and the
 * client does not see its message.
 *
 * A session that is restored from a `store` keeps its record, so that the client may try again.
 *
 * @example
 * ```ts
 * mcpRouter({
 *   serverFactory: ({ principal }) => {
 *     if (principal === undefined) throw new HttpError(403, { message: 'This tenant is suspended' });
 *     return buildServer(principal);
 *   },
 * });
 * ```
 */
export class HttpError extends Error {
  /** The HTTP status, from 400 to 599. */
  readonly status: number;
  /** The JSON-RPC error code. */
  readonly code: number;
  readonly headers: Readonly<Record<string, string>>;

  /** @throws TypeError when the status, the code, the message or a header is not valid. */
  constructor(status: number, options: HttpErrorOptions = {}) {
    const { code = -32000, message = STATUS_CODES[status] ?? 'Error', headers = {}, cause } = options;
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new TypeError(`HttpError: status must be a whole number from 400 to 599; got ${String(status)}`);
    }
    if (!Number.isSafeInteger(code)) {
      throw new TypeError(`HttpError: option code must be a whole number; got ${String(code)}`);
    }
    if (typeof message !== 'string') throw new TypeError('HttpError: option message must be a string');
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'HttpError';
    this.status = status;
    this.code = code;
    this.headers = headers;
    Object.defineProperty(this, MARK, { value: true });
  }
}

/** Whether a value is an {@link HttpError} of this copy of the package, or of another one. */
export function isHttpError(value: unknown): value is HttpError {
  return value instanceof Error && MARK in value;
}
