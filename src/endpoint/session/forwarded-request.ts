import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ForwardedRequest } from './forwarding-port.js';
import { Exchange } from '../../http/exchange.js';
import { hostOf } from '../../http/guard.js';
import type { McpRequest } from '../../http/mcp-request.js';
import type { Post } from '../../http/receive.js';

/** A comment of an event stream. It is no event (HTML, 9.2.6). */
const COMMENT = ': open\n\n';

/**
 * The exchange of a request that another node forwarded. That node has checked Host and Origin, answered CORS, and identified
 * the principal.
 *
 * @param message - The HTTP request between the two nodes.
 */
export function toExchange(
  { method, path, headers, protocol, principal, auth, hop }: Omit<ForwardedRequest, 'post' | 'forwarded'>,
  body: Buffer,
  message: IncomingMessage,
  res: ServerResponse,
): Exchange {
  // Only a client that speaks HTTP/2 sends `:authority`.
  const host = hostOf({ httpVersionMajor: 2, headers });
  const request: McpRequest = { method, originalUrl: path, headers, host, protocol, auth, message, body, hop };
  // The relaying node sends the head with the first bytes of the body. So a stream without an event begins with a comment.
  const flushHeaders = (): void => void res.write(COMMENT);
  return new Exchange(request, Object.assign(res, { flushHeaders }), principal, true);
}

/** The parts of an exchange that are sent to another node. */
export function toForwardedRequest(
  { req, principal, forwarded, operations }: Exchange,
  sessionId: string | undefined,
  post: Post | undefined,
): ForwardedRequest {
  return {
    method: req.method,
    path: req.originalUrl,
    headers: req.headers,
    protocol: req.protocol,
    principal,
    auth: req.auth,
    sessionId,
    post,
    hop: operations?.hop(),
    forwarded,
  };
}
