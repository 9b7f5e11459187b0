import type { JSONRPCRequest, RequestId } from '../protocol/messages.js';
import { onRejection } from '../runtime/user-code.js';
import { keyOf, type Answer } from './pending-requests.js';

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Requests of the router itself to a server. Their answers go to no client. */
export class RouterRequests {
  readonly #waiting = new Map<RequestId, Waiting>();

  /** @param deliver - Hands the request to the server, under the ID that its answer will have. */
  async ask(request: JSONRPCRequest, deliver: (request: JSONRPCRequest) => unknown): Promise<Answer> {
    const key = keyOf(request.id);
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(key, { resolve, reject });
      onRejection(deliver({ ...request, id: key }), reject);
    });
    return { ...answer, id: request.id };
  }

  /** Takes the answer to a request of the router. Returns false when it answers another request. */
  takesAnswer(answer: Answer): boolean {
    const waiting = answer.id === undefined ? undefined : this.#waiting.get(answer.id);
    if (waiting === undefined) return false;
    this.#waiting.delete(answer.id as RequestId);
    waiting.resolve(answer);
    return true;
  }

  close(): void {
    for (const waiting of this.#waiting.values()) waiting.reject(new Error('Closed while it was being opened'));
    this.#waiting.clear();
  }
}
