import type { Instrumentation, OperationFacts, Question } from '../options/telemetry.js';
import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '../protocol/messages.js';
import { errorResponse } from '../errors.js';
import type { EpochIds } from './epoch-ids.js';
import type { Answer } from './pending-requests.js';

/** Questions that may be observed at once in one session. Its client may never answer them. */
const MAX_ASKED = 1_000;

/** Adds the context of a question's span to its `_meta`. The app's own fields stay. */
export function withTrace(message: JSONRPCRequest, { fields }: Question): JSONRPCRequest {
  if (Object.keys(fields).length === 0) return message;
  const { params } = message;
  return { ...message, params: { ...params, _meta: { ...fields, ...params?._meta } } };
}

/** The requests of one server to its client, as telemetry sees them. There is one only with the option `telemetry`. */
export class AskedOperations {
  readonly #instrumentation: Instrumentation;
  readonly #facts: OperationFacts;
  readonly #epochIds: EpochIds;
  /** By the ID that the client sees. The SDK's server takes an answer to "5" for one to 5. */
  readonly #open = new Map<string, Question>();

  constructor(instrumentation: Instrumentation, facts: OperationFacts, epochIds: EpochIds) {
    this.#instrumentation = instrumentation;
    this.#facts = facts;
    this.#epochIds = epochIds;
  }

  /**
   * Sends a message of the server.
   *
   * @throws The errors of `send`.
   */
  send(message: JSONRPCMessage, send: (message: JSONRPCMessage) => Promise<void>): Promise<void> {
    if (!('method' in message)) return send(message);
    if ('id' in message && this.#open.size < MAX_ASKED) return this.#ask(message, send);
    if (message.method === 'notifications/cancelled') this.#withdraw(message.params?.requestId as RequestId);
    return send(message);
  }

  answered(answer: Answer): void {
    if (answer.id !== undefined) this.#end(answer.id, answer);
  }

  close(): void {
    for (const question of this.#open.values()) question.end(errorResponse('sessionClosed'));
    this.#open.clear();
  }

  async #ask(message: JSONRPCRequest, send: (message: JSONRPCMessage) => Promise<void>): Promise<void> {
    const id = this.#epochIds.outgoingId(message.id);
    const question = this.#instrumentation.ask(message, this.#facts, id);
    this.#open.set(String(id), question);
    try {
      await send(withTrace(message, question));
    } catch (error) {
      this.#end(id, errorResponse('internalError'));
      throw error;
    }
  }

  #withdraw(id: RequestId): void {
    this.#end(this.#epochIds.outgoingId(id), undefined);
  }

  #end(id: RequestId, answer: Parameters<Question['end']>[0]): void {
    const key = String(id);
    this.#open.get(key)?.end(answer);
    this.#open.delete(key);
  }
}
