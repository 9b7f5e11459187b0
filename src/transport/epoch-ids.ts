import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';

/** How many requests a server may send in one epoch. The SDK counts them from 0. */
const SPAN = 2 ** 32;

/**
 * Marks the IDs of server-to-client requests with the epoch of the session, so that a client's late answer to a session's
 * earlier life can never be taken for the answer to another request (the SDK counts from 0 in each life).
 *
 * The ID stays a number, `epoch * 2^32 + n`, as some clients cannot do with another kind; in a first life it is the SDK's own.
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
      const marked = { ...message, id: this.#mark(message.id) };
      if (token === undefined) return marked;
      return {
        ...marked,
        params: { ...message.params, _meta: { ...message.params?._meta, progressToken: this.#mark(token) } },
      };
    }
    if (message.method !== 'notifications/cancelled') return message;
    const requestId = message.params?.requestId as RequestId | undefined;
    if (requestId === undefined) return message;
    return { ...message, params: { ...message.params, requestId: this.#mark(requestId) } };
  }

  /** A message from the client as the server knows its IDs; undefined when it speaks to another epoch. */
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

  #mark(id: RequestId): RequestId {
    return typeof id === 'number' ? this.#base + id : id;
  }

  #unmark(id: RequestId): RequestId | undefined {
    // The SDK takes "5" for 5 in an answer, so both are told apart here.
    const n = Number(id) - this.#base;
    if (Number.isNaN(n)) return id;
    return n >= 0 && n < SPAN ? n : undefined;
  }
}
