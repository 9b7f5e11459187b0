import type { IncomingMessage, ServerResponse } from 'node:http';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { Request, Response } from 'express';
import { Refusal } from '../../errors.js';
import type { ForwardedRequest } from '../../sessions/ownership.js';
import { Exchange } from '../../http/exchange.js';

/** HTML, 9.2.6: no event. */
const COMMENT = ': open\n\n';

/**
 * The exchange of a request that another node handed over, on the connection between the two nodes. That node has done what
 * comes before: the guards, CORS, who asks. Of Express there is only what an {@link Exchange} takes.
 */
export function toExchange(
  { method, path, headers, protocol, principal, auth }: Omit<ForwardedRequest, 'body' | 'requestIds' | 'forwarded'>,
  body: Buffer,
  req: IncomingMessage,
  res: ServerResponse,
): Exchange {
  const request = Object.assign(req, { method, url: path, originalUrl: path, headers, protocol, auth, body });
  // The node that relays the reply passes its head on with the first of its body: a stream with nothing to say yet has a comment.
  const flushHeaders = (): void => void res.write(COMMENT);
  const response = Object.assign(res, { locals: {}, flushHeaders });
  return new Exchange(request as unknown as Request, response as unknown as Response, principal, true);
}

/** Its session is another node's to serve by the time that a request could have begun. */
export class SessionReleased extends Refusal {
  constructor() {
    super('draining');
  }
}

/** What a request says, where another node has to be told. */
export interface RequestBody {
  readonly body: unknown;
  readonly messages: readonly JSONRPCMessage[];
}

export const NO_BODY: RequestBody = { body: undefined, messages: [] };

/** The exchange as another node gets it. */
export function toForwardedRequest(
  { req, principal, forwarded }: Exchange,
  sessionId: string | undefined,
  { body, messages }: RequestBody,
): ForwardedRequest {
  return {
    method: req.method,
    path: req.originalUrl,
    headers: req.headers,
    protocol: req.protocol,
    principal,
    auth: req.auth,
    sessionId,
    body,
    requestIds: messages.flatMap((message) => ('method' in message && 'id' in message ? message.id : [])),
    forwarded,
  };
}
