import type { JSONRPCMessage, RequestId } from '../protocol/messages.js';

/** How many requests a server may send in one epoch. The SDK counts them from 0. */
const SPAN = 2 ** 32;

/**
 * Marks the IDs of server-to-client requests with the epoch of the session.
 *
 * The SDK's server counts its requests from 0 in each epoch. Without the mark, a late answer to a request of an earlier epoch
 * would be taken for the answer to another request. The ID stays a number, `epoch * 2^32 + n`, as some clients fail on other
 * kinds. In epoch 0 it equals the SDK's ID.
 */
export class EpochIds {
  readonly #base: number;

  constructor(epoch: number) {
    this.#base = epoch * SPAN;
  }

  /** A message to the client, with its IDs marked. */
  outgoing(message: JSONRPCMessage): JSONRPCMessage {
    if (this.#base === 0 || !('method' in message)) return message;
    if ('id' in message) {
      const token = message.params?._meta?.progressToken;
      const marked = { ...message, id: this.outgoingId(message.id) };
      if (token === undefined) return marked;
      return {
        ...marked,
        params: { ...message.params, _meta: { ...message.params?._meta, progressToken: this.outgoingId(token) } },
      };
    }
    if (message.method !== 'notifications/cancelled') return message;
    const requestId = message.params?.requestId as RequestId | undefined;
    if (requestId === undefined) return message;
    return { ...message, params: { ...message.params, requestId: this.outgoingId(requestId) } };
  }

  /** A message from the client with the server's own IDs. Undefined when the message belongs to another epoch. */
  incoming(message: JSONRPCMessage): JSONRPCMessage | undefined {
    if (this.#base === 0) return message;
    if (!('method' in message)) {
      const id = message.id === undefined ? undefined : this.#unmark(message.id);
      return id === undefined ? undefined : { ...message, id };
    }
    if (message.method !== 'notifications/progress' || 'id' in message) return message;
    const progressToken = this.#unmark(message.params?.progressToken as RequestId);
    return progressToken === undefined ? undefined : { ...message, params: { ...message.params, progressToken } };
  }

  /** The ID of a server's request as its client sees it. */
  outgoingId(id: RequestId): RequestId {
    return typeof id === 'number' ? this.#base + id : id;
  }

  #unmark(id: RequestId): RequestId | undefined {
    // The SDK's server converts the ID of an answer to a number. So "5" and 5 are the same here.
    const n = Number(id) - this.#base;
    if (Number.isNaN(n)) return id;
    return n >= 0 && n < SPAN ? n : undefined;
  }
}
