import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION } from '../../protocol/session-era.js';
import { Refusal } from '../../errors.js';
import type { McpServerLike } from '../../options/options.js';
import type { ServerBuilder } from '../../sessions/server/server-builder.js';
import { FactoryContext } from '../../sessions/server/server-context.js';
import { AppState } from '../../sessions/records/app-state.js';
import { InFlight } from '../../runtime/in-flight.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import type { Lease, TransportContext } from '../../transport/transport-types.js';
import { HttpTransport } from '../../transport/transport.js';
import { checkBatch, checkInitialize } from '../../http/classify.js';
import type { Endpoint } from '../endpoint.js';
import type { Exchange } from '../../http/exchange.js';
import type { Post } from '../../http/receive.js';

const ignore = (): void => undefined;

/** The MCP endpoint of a router that keeps no sessions: a server and a transport for each POST, closed when its reply has ended. */
export class StatelessEndpoint implements Endpoint {
  readonly methods = ['POST'];
  readonly #builder: ServerBuilder;
  readonly #transports: TransportContext;
  readonly #calls = new Set<StatelessCall>();
  readonly #inFlight = new InFlight();
  readonly #lifecycle: Lifecycle;

  constructor(builder: ServerBuilder, transports: TransportContext, lifecycle: Lifecycle) {
    this.#lifecycle = lifecycle;
    this.#builder = builder;
    this.#transports = transports;
  }

  async post(exchange: Exchange, post: Post): Promise<void> {
    const { req, principal } = exchange;
    const initialize = post.initialize && checkInitialize(post.initialize).params;
    // Without a session, only the header tells the version (spec 2025-11-25, "Protocol Version Header").
    const version = initialize?.protocolVersion ?? exchange.checkedVersion() ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
    checkBatch(post, version);
    if (this.#lifecycle.isDraining) throw new Refusal('draining');

    const context = new FactoryContext({
      sessionId: undefined,
      principal,
      req: { headers: req.headers, auth: req.auth },
      clientInfo: initialize?.clientInfo,
      clientCapabilities: initialize?.capabilities,
      restored: false,
      epoch: 0,
      state: new AppState(),
    });
    // An `initialize` has only the version that its client asks for. The answer has the one that was agreed on.
    await this.#call(exchange, post, context, initialize === undefined ? version : undefined);
  }

  drain(): void {
    // The phase alone refuses new requests.
  }

  idle(): Promise<void> {
    return this.#inFlight.whenNone();
  }

  endStreams(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    const idle = this.idle();
    for (const call of this.#calls) call.abandon(new Refusal('draining'));
    await idle;
  }

  async #call(
    exchange: Exchange,
    { messages, batch, form, memory }: Post,
    context: FactoryContext,
    version: string | undefined,
  ): Promise<void> {
    const call = new StatelessCall(context, this.#transports, this.#builder, () => this.#ended(call));
    this.#calls.add(call);
    this.#inFlight.begin();
    exchange.res.once('close', () => call.abandonOpening());
    try {
      await this.#transports.requestMemory.during(memory, () => call.open());
      // It was abandoned too late to stop its opening.
      if (call.abandonedFor !== undefined) throw call.abandonedFor;
      const { extra, res, operations } = exchange;
      call.transport.protocolVersion = version;
      await call.transport.post(res, messages, { form, batch, extra, memory, operations, lease: call });
    } catch (error) {
      call.release();
      throw error;
    }
  }

  #ended(call: StatelessCall): void {
    this.#calls.delete(call);
    this.#inFlight.end();
  }
}

/** One POST with a server of its own. The server is closed when the call is released or abandoned. */
class StatelessCall implements Lease {
  readonly transport: HttpTransport;
  /** Set when the router closes. */
  abandonedFor: Error | undefined;
  readonly #context: FactoryContext;
  readonly #builder: ServerBuilder;
  readonly #onEnd: () => void;
  readonly #abandoned: Promise<never>;
  #reject: (error: Error) => void = ignore;
  #server: McpServerLike | undefined;
  #ended = false;

  constructor(context: FactoryContext, transports: TransportContext, builder: ServerBuilder, onEnd: () => void) {
    this.#context = context;
    this.#builder = builder;
    this.#onEnd = onEnd;
    this.transport = new HttpTransport({ context: transports, onDisconnect: 'continue', principal: context.principal });
    this.#abandoned = new Promise<never>((_, reject) => (this.#reject = reject));
    this.#abandoned.catch(ignore);
  }

  async open(): Promise<void> {
    const { server } = await this.#builder.build(this.#context, this.transport, this.#abandoned, () =>
      Promise.resolve(),
    );
    this.#server = server;
  }

  /** The client has disconnected. Once the server is open, that cancels nothing (spec 2025-11-25, "Sending Messages to the Server"). */
  abandonOpening(): void {
    this.#reject(new Refusal('sessionClosed'));
  }

  abandon(reason: Error): void {
    this.abandonedFor = reason;
    this.#reject(reason);
    void this.transport.close();
    // A client that stops reading stalls its reply. It must not stall the router's close.
    if (this.#server !== undefined) this.release();
  }

  release(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#context.lifetime.end();
    const closed = this.#server === undefined ? this.transport.close() : this.#builder.close(this.#server);
    void closed.finally(this.#onEnd);
  }
}
