import { replyFormOf, type ReplyForm, createAcceptCheck } from '../transport/reply-form.js';
import { memoryOf } from '../transport/request-memory.js';
import type { Body, BodyReader } from './body.js';
import { classify, idOf, methodOf, type Classified } from './classify.js';
import type { Exchange } from './exchange.js';

/** What a client posted. */
export interface Post extends Classified, Pick<Body, 'raw'> {
  /** Bytes that the messages take in memory, about. */
  readonly memory: number;
  /** The form of reply that the client accepts. */
  readonly form: ReplyForm;
}

/** Reads a POST. Rejects with the Refusal of the first check that fails. */
export type Receive = (exchange: Exchange) => Promise<Post>;

/**
 * Makes the function that reads every POST, once: its Accept header, its body, its messages. Only then is it known which
 * endpoint serves the POST, as the body alone tells the era of the protocol.
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

/** The body as it is sent to another node: as it came, where this node has that. */
export function bodyOf({ raw, messages, batch }: Post): Buffer | string {
  return raw ?? JSON.stringify(batch ? messages : messages[0]);
}
