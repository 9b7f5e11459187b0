import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { AuthInfo } from '../protocol/wire-transport.js';
import type { HttpRequest } from '../options/options.js';
import type { HopTrace } from '../options/telemetry.js';
import { hostOf } from './guard.js';

/** A request as the endpoints read it. A client sent it to this process, or another node of the cluster forwarded it. */
export interface McpRequest {
  readonly method: string;
  /** The path and query as the client sent them, also when a framework has removed the mount path from `url`. */
  readonly originalUrl: string;
  readonly headers: IncomingHttpHeaders;
  readonly host: string | undefined;
  /** `https` or `http`: the scheme by which the client reached the endpoint. */
  readonly protocol: string;
  readonly auth: AuthInfo | undefined;
  /** The message that carries the body. */
  readonly message: IncomingMessage;
  /** The body, if other code has read it from the message. */
  readonly body: unknown;
  /** Set when another node has forwarded it and has telemetry. */
  readonly hop?: HopTrace | undefined;
}

/** A request that a client sent to this process. */
export function clientRequest(req: HttpRequest): McpRequest {
  return {
    method: req.method ?? '',
    originalUrl: req.originalUrl ?? req.url ?? '/',
    headers: req.headers,
    host: hostOf(req),
    protocol: req.protocol ?? protocolOf(req),
    auth: req.auth,
    message: req,
    body: req.body,
  };
}

/** The scheme by the socket alone, as any client can send `X-Forwarded-Proto`. */
function protocolOf({ socket }: IncomingMessage): string {
  return (socket as Partial<TLSSocket>).encrypted === true ? 'https' : 'http';
}
