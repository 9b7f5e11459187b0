import type { ServerResponse } from 'node:http';
import type { RequestId } from '../protocol/messages.js';
import { errorResponse } from '../errors.js';
import type { ForwardedRequest } from '../endpoint/session/forwarding-port.js';
import { noteError } from '../transport/response-facts.js';
import { frame, sseHeaders } from '../transport/sse.js';

/** The IDs of the JSON-RPC requests in the body. */
export function requestIdsOf({ post }: ForwardedRequest): RequestId[] {
  return post?.messages.flatMap((message) => ('method' in message && 'id' in message ? message.id : [])) ?? [];
}

/** Answers a request after its node took it and died. The request may have been carried out or not. */
export function answerOutcomeUnknown(res: ServerResponse, request: ForwardedRequest): void {
  if (res.destroyed || res.headersSent) return;
  const answers = requestIdsOf(request).map((id) => errorResponse('outcomeUnknown', id));
  if (answers.length === 0) return accept(res);
  noteError(res, 'outcomeUnknown');
  if (request.post?.form === 'sse') {
    res.writeHead(200, sseHeaders());
    res.end(outcomeUnknownEvents(request));
    return;
  }
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(request.post?.batch === true ? answers : answers[0]));
}

/** The same answer as events, for a client that got the head of a stream already. Undefined when there is no request. */
export function outcomeUnknownEvents(request: ForwardedRequest): string | undefined {
  const requestIds = requestIdsOf(request);
  if (requestIds.length === 0) return undefined;
  return requestIds.map((id) => frame(JSON.stringify(errorResponse('outcomeUnknown', id)))).join('');
}

/** Answers 202: the owner has the notifications and responses. */
export function accept(res: ServerResponse): void {
  if (res.destroyed || res.headersSent) return;
  res.statusCode = 202;
  res.end();
}
