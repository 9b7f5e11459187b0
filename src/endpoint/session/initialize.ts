import { rejectReason, type CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { openSession, type Opened, type SessionParts } from '../../sessions/life/open.js';
import { isJson, type ReplyForm } from '../../transport/reply-form.js';
import { Reply } from '../../transport/reply.js';
import { sendEvent, sendJson } from '../../http/answer.js';
import type { Initialize } from '../../http/classify.js';
import type { Exchange } from '../../http/exchange.js';

/** Opens a session and answers its `initialize`. */
export async function initialize(
  parts: SessionParts,
  events: Emitter<CoreEvents>,
  exchange: Exchange,
  message: Initialize,
  form: ReplyForm,
): Promise<void> {
  const { res } = exchange;
  const opened = await open(parts, events, exchange, message);
  const { session, answer } = opened;
  const json = isJson(form, parts.transports.enableJsonResponse);
  if (session === undefined) return json || form === 'any' ? sendJson(res, 200, answer) : sendEvent(res, answer);
  exchange.note({ session: session.id });
  const lease = session.acquire('request');
  const reply = new Reply(res, 'request', opened.transport, {
    replyClosed: (_, complete) => {
      // A client that did not get its session ID can never use the session.
      if (!complete) void parts.registry.close(session, 'failed');
      lease.release();
    },
  });
  if (json) reply.json(JSON.stringify(answer));
  else reply.lastEvent(JSON.stringify(answer));
}

async function open(
  parts: SessionParts,
  events: Emitter<CoreEvents>,
  { res, caller, operations }: Exchange,
  message: Initialize,
): Promise<Opened> {
  try {
    return await openSession(parts, {
      ...caller,
      message,
      params: message.params,
      evicts: true,
      operations,
      onGone: (listener) => res.once('close', listener),
    });
  } catch (error) {
    const reason = rejectReason(error);
    const { principal } = caller;
    if (!res.destroyed && reason !== undefined) events.emit('rejected', reason, { principal, sessionId: undefined });
    throw error;
  }
}
