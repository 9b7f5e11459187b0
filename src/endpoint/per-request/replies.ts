import type { JSONRPCRequest } from '../../protocol/messages.js';
import type { MessageExtraInfo } from '../../protocol/wire-transport.js';
import type { Exchange } from '../../http/exchange.js';
import type { Envelope } from '../../http/per-request/envelope.js';
import type { Post } from '../../http/receive.js';
import type { InFlight } from '../../runtime/in-flight.js';
import type { TransportContext } from '../../transport/transport-types.js';
import { HttpTransport } from '../../transport/transport.js';
import { Round } from './bridge/round.js';

/** Takes a round. What it returns is told when the round is cancelled. */
export type RoundTaker = (round: Round, extra: MessageExtraInfo) => { cancelled(round: Round): void };

/** The replies to requests of MCP 2026-07-28. Each has a transport of its own, whose server is the call that takes the round. */
export class Replies {
  readonly #context: TransportContext;
  readonly #inFlight: InFlight;
  /** The release of each. */
  readonly #open = new Map<HttpTransport, () => void>();

  constructor(context: TransportContext, inFlight: InFlight) {
    this.#context = context;
    this.#inFlight = inFlight;
  }

  /**
   * Opens the reply to a request, and hands it to `take`.
   *
   * @throws Refusal `bodiesAtCapacity` when requests in flight leave no memory. Then the reply was not taken.
   */
  async post(
    exchange: Exchange,
    { form, memory }: Post,
    request: JSONRPCRequest,
    envelope: Envelope,
    take: RoundTaker,
  ): Promise<void> {
    const { res, extra, principal } = exchange;
    const transport = new HttpTransport({ context: this.#context, onDisconnect: 'cancel', principal });
    let cancel: (() => void) | undefined;
    transport.onmessage = (message, messageExtra = {}) => {
      if (!('method' in message)) return;
      // Without an ID it is the transport's own: the client closed the reply, or the request timed out.
      if (!('id' in message)) return cancel?.();
      const round = new Round(transport, message.id, envelope, request.params?._meta?.progressToken);
      const call = take(round, messageExtra);
      cancel = () => call.cancelled(round);
    };
    const release = (): void => {
      if (this.#open.delete(transport)) this.#inFlight.end();
    };
    this.#open.set(transport, release);
    this.#inFlight.begin();
    const init = { batch: false, version: envelope.version, form, extra, memory, lease: { release } };
    try {
      await transport.post(res, [request], init);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Ends every reply now. */
  close(): void {
    for (const [transport, release] of this.#open) {
      void transport.close();
      // A client that stops reading stalls its reply. It must not stall the router's close.
      release();
    }
  }
}
