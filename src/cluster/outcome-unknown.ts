import type { ServerResponse } from 'node:http';
import { errorResponse } from '../errors.js';
import type { ForwardedRequest } from '../endpoint/session/forwarding-port.js';
import { replyFormOf } from '../transport/reply-form.js';
import { frame, sseHeaders } from '../transport/sse.js';

/** What a client is told whose request was taken by a node that has died: it may have been carried out, or not. */
export function answerOutcomeUnknown(res: ServerResponse, request: ForwardedRequest): void {
  const { requestIds, body, headers } = request;
  if (res.destroyed || res.headersSent) return;
  const answers = requestIds.map((id) => errorResponse('outcomeUnknown', id));
  if (answers.length === 0) return accept(res);
  if (replyFormOf(headers.accept) === 'sse') {
    res.writeHead(200, sseHeaders());
    res.end(outcomeUnknownEvents(request));
    return;
  }
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(Array.isArray(body) ? answers : answers[0]));
}

/** The same as events, where the client has the head of a stream already; undefined where nothing was asked. */
export function outcomeUnknownEvents({ requestIds }: ForwardedRequest): string | undefined {
  if (requestIds.length === 0) return undefined;
  return requestIds.map((id) => frame(JSON.stringify(errorResponse('outcomeUnknown', id)))).join('');
}

/** What was said was given to the node that it is for. */
export function accept(res: ServerResponse): void {
  if (res.destroyed || res.headersSent) return;
  res.statusCode = 202;
  res.end();
}
