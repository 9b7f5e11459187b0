import type {
  JSONRPCErrorResponse,
  JSONRPCNotification,
  JSONRPCResultResponse,
  RequestId,
} from '../../../protocol/messages.js';
import { Refusal } from '../../../errors.js';
import { LOG_MESSAGE } from '../../../protocol/notifications.js';
import { LOG_LEVELS, type LogLevel } from '../../../protocol/session-era.js';
import type { Envelope } from '../../../http/per-request/envelope.js';
import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import type { Linked } from '../../../runtime/linked-list.js';
import type { Fields } from '../../../transport/jsonrpc.js';
import type { HttpTransport } from '../../../transport/transport.js';

/** A call that has not ended. */
export interface OpenCall extends Linked<OpenCall> {
  readonly principal: string | undefined;
  begin(extra: MessageExtraInfo): void;
  /** The client closed the reply of a round, or the round timed out. */
  cancelled(round: Round): void;
  /** Aborts the handler, and ends the call without an answer. */
  cancel(reason: string): void;
}

/** The end of a round, as its client gets it. */
export type Outcome = Pick<JSONRPCResultResponse, 'result'> | Pick<JSONRPCErrorResponse, 'error'> | Refusal;

/** One POST of a call, with its reply. A call that asks its client something has several. */
export class Round {
  readonly envelope: Envelope;
  readonly #transport: Pick<HttpTransport, 'send' | 'refuse'>;
  readonly #id: RequestId;
  readonly #progressToken: unknown;
  #progress = -Infinity;

  /** @param id - The ID that the transport knows the request by. */
  constructor(
    transport: Pick<HttpTransport, 'send' | 'refuse'>,
    id: RequestId,
    envelope: Envelope,
    progressToken: unknown,
  ) {
    this.#transport = transport;
    this.#id = id;
    this.envelope = envelope;
    this.#progressToken = progressToken;
  }

  /** Sends what its client asked for: progress that rises, and log messages from a level on. */
  notify(notification: JSONRPCNotification): Promise<void> | undefined {
    const { method, params = {} } = notification;
    if (method === LOG_MESSAGE && this.#wantsLog(params)) return this.#send(notification);
    if (method !== 'notifications/progress' || !this.#takesProgress(params)) return undefined;
    // The token of an earlier round may be in use for another request by now.
    return this.#send({ ...notification, params: { ...params, progressToken: this.#progressToken } });
  }

  /** Ends the reply. A refusal gets its HTTP status, if nothing was sent yet. */
  end(outcome: Outcome): void {
    if (outcome instanceof Refusal) this.#transport.refuse(this.#id, outcome);
    else void this.#transport.send({ jsonrpc: '2.0', id: this.#id, ...outcome });
  }

  #send(notification: JSONRPCNotification): Promise<void> {
    return this.#transport.send(notification, { relatedRequestId: this.#id });
  }

  #wantsLog({ level }: Fields): boolean {
    const { logLevel } = this.envelope;
    return logLevel !== undefined && LOG_LEVELS.indexOf(level as LogLevel) >= LOG_LEVELS.indexOf(logLevel);
  }

  /** Progress must rise (MCP 2026-07-28, basic/patterns/progress). */
  #takesProgress({ progress }: Fields): boolean {
    if (this.#progressToken === undefined || typeof progress !== 'number' || !(progress > this.#progress)) return false;
    this.#progress = progress;
    return true;
  }
}
