import type { JSONRPCMessage, JSONRPCRequest } from '../../protocol/messages.js';
import type { MessageExtraInfo } from '../../protocol/wire-transport.js';
import type { Exchange } from '../../http/exchange.js';
import type { Envelope } from '../../http/per-request/envelope.js';
import type { Post } from '../../http/receive.js';
import type { InFlight } from '../../runtime/in-flight.js';
import { LinkedList, type Linked } from '../../runtime/linked-list.js';
import type { Lease, TransportContext } from '../../transport/transport-types.js';
import { HttpTransport } from '../../transport/transport.js';
import { Round } from './bridge/round.js';

/** Takes a round. Its `cancelled` is called when the client or the router cancels the round. */
export type RoundTaker = (round: Round, extra: MessageExtraInfo) => { cancelled(round: Round): void };

/** The replies to requests of MCP 2026-07-28. Each has a transport of its own, whose server is the call that takes the round. */
export class Replies {
  readonly #context: TransportContext;
  readonly #inFlight: InFlight;
  readonly #open = new LinkedList<OpenReply>();

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
    const { res, extra, principal, operations } = exchange;
    const transport = new HttpTransport({ context: this.#context, onDisconnect: 'cancel', principal });
    transport.protocolVersion = envelope.version;
    const reply = new OpenReply(transport, request, envelope, take, this.#inFlight);
    this.#open.append(reply);
    const init = { batch: false, form, extra, memory, operations, lease: reply };
    try {
      await transport.post(res, [request], init);
    } catch (error) {
      reply.release();
      throw error;
    }
  }

  /** Ends every reply now. */
  close(): void {
    for (let { first } = this.#open; first !== undefined; { first } = this.#open) {
      first.close();
      // A client that stops reading stalls its reply. It must not stall the router's close.
      first.release();
    }
  }
}

/** One reply until it is over. It counts as in flight until its release. */
class OpenReply implements Lease, Linked<OpenReply> {
  list: LinkedList<OpenReply> | undefined;
  before: OpenReply | undefined;
  after: OpenReply | undefined;
  readonly #transport: HttpTransport;
  readonly #request: JSONRPCRequest;
  readonly #envelope: Envelope;
  readonly #take: RoundTaker;
  readonly #inFlight: InFlight;
  #cancel: (() => void) | undefined;

  constructor(
    transport: HttpTransport,
    request: JSONRPCRequest,
    envelope: Envelope,
    take: RoundTaker,
    inFlight: InFlight,
  ) {
    this.#transport = transport;
    this.#request = request;
    this.#envelope = envelope;
    this.#take = take;
    this.#inFlight = inFlight;
    inFlight.begin();
    transport.onmessage = (message, extra) => this.#takeMessage(message, extra);
  }

  close(): void {
    void this.#transport.close();
  }

  release(): void {
    if (this.list === undefined) return;
    this.list.delete(this);
    this.#inFlight.end();
  }

  #takeMessage(message: JSONRPCMessage, extra: MessageExtraInfo = {}): void {
    if (!('method' in message)) return;
    // Without an ID it is the transport's own: the client closed the reply, or the request timed out.
    if (!('id' in message)) return this.#cancel?.();
    const token = this.#request.params?._meta?.progressToken;
    const round = new Round(this.#transport, message.id, this.#envelope, token);
    const call = this.#take(round, extra);
    this.#cancel = () => call.cancelled(round);
  }
}
