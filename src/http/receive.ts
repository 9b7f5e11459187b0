import { replyFormOf, type ReplyForm, createAcceptCheck } from '../transport/reply-form.js';
import { memoryOf } from '../transport/request-memory.js';
import type { Body, BodyReader } from './body.js';
import { classify, idOf, methodOf, type Classified } from './classify.js';
import type { Exchange } from './exchange.js';

/** A POST that was read and checked. */
export interface Post extends Classified, Pick<Body, 'raw'> {
  /** Bytes of memory that the messages take, an estimate. */
  readonly memory: number;
  /** The form of reply that the client accepts. */
  readonly form: ReplyForm;
}

/** Reads a POST. Rejects with the Refusal of the first check that fails. */
export type Receive = (exchange: Exchange) => Promise<Post>;

/**
 * Makes the function that reads every POST once: its Accept header, its body, its messages. It runs before an endpoint is chosen,
 * as only the body shows the era of the protocol.
 */
export function createReceive(bodies: BodyReader): Receive {
  const checkAccept = createAcceptCheck(replyFormOf);
  return async (exchange) => {
    const form = checkAccept(exchange.req.headers);
    const { value, raw } = await bodies.read(exchange.req);
    exchange.id = idOf(value);
    const classified = classify(value);
    exchange.note({ method: methodOf(classified) });
    const { messages, batch, initialize } = classified;
    return { form, raw, memory: memoryOf(value), messages, batch, initialize };
  };
}

/** The body for another node: as the client sent it, if this node has read it itself. */
export function bodyOf({ raw, messages, batch }: Post): Buffer | string {
  return raw ?? JSON.stringify(batch ? messages : messages[0]);
}
