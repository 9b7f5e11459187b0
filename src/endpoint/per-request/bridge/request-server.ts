import type { IncomingHttpHeaders } from 'node:http';
import type { JSONRPCRequest } from '../../../protocol/messages.js';
import { LATEST_PROTOCOL_VERSION } from '../../../protocol/session-era.js';
import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import { Refusal } from '../../../errors.js';
import type { Envelope } from '../../../http/per-request/envelope.js';
import { mirrorArguments, type ParamHeader } from '../../../http/per-request/param-headers.js';
import { RESERVED_PREFIX, SERVER_INFO } from '../../../protocol/per-request-era.js';
import type { McpServerLike } from '../../../options/options.js';
import type { NativeServer, PerRequestSdk } from '../../../options/per-request-sdk.js';
import type { ServerBuilder } from '../../../sessions/server/server-builder.js';
import type { AppState } from '../../../sessions/records/app-state.js';
import type { FactoryContext } from '../../../sessions/server/server-context.js';
import type { ServerLifetime } from '../../../sessions/server/server-lifetime.js';
import type { Clock } from '../../../runtime/clock.js';
import { toolOf, without, type Fields } from '../../../transport/jsonrpc.js';
import type { ServerFacts } from '../results.js';
import type { PooledServer } from '../server-pool.js';
import type { BridgeTransport } from './bridge-transport.js';
import { digestOf } from './questions.js';
import { ToolList } from './tool-list.js';

/** `initialize` requires a name, which a client of MCP 2026-07-28 may leave out. */
const UNNAMED = { name: 'unnamed', version: '0' };

const ignore = (): void => undefined;

/** The request that a server is opened for, or that it is to answer. */
export interface OpeningCall {
  readonly request: JSONRPCRequest;
  readonly envelope: Envelope;
  readonly headers: IncomingHttpHeaders;
  readonly extra: MessageExtraInfo;
  /** Prepares the server after its handshake, as a part of its opening. */
  readonly prepare?: (facts: ServerFacts, extra: MessageExtraInfo, isNative: boolean) => Promise<void>;
}

/** A server that answers requests of MCP 2026-07-28, from its opening to its close. It is one of the session era, or of that revision. */
export class RequestServer implements PooledServer {
  readonly bridge: BridgeTransport;
  readonly #builder: ServerBuilder;
  readonly #state: AppState;
  readonly #lifetime: ServerLifetime;
  readonly #isShared: boolean;
  readonly #sdk: PerRequestSdk | undefined;
  readonly #onEnd: () => void;
  readonly #onClosed: () => void;
  readonly #abandoned: Promise<never>;
  readonly #tools: ToolList;
  #abandon: (error: Error) => void = ignore;
  /** Undefined once the opening has begun. */
  #context: FactoryContext | undefined;
  #opening: Promise<ServerFacts>;
  /** Undefined until the server is open. */
  #facts: ServerFacts | undefined;
  #server: McpServerLike | undefined;
  #closesFor: Error | undefined;
  /** A digest of the client's name and capabilities that a bridged server got in its `initialize`. */
  #initializedFor: string | undefined;
  #hasEnded = false;
  /** Undefined for a server of the session era, and before the server is built. */
  #native: NativeServer | undefined;

  /**
   * @param sdk - Adapts a server that serves MCP 2026-07-28 itself.
   * @param onEnd - Called when the server takes no more requests.
   * @param onClosed - Called when nothing of the server remains.
   */
  constructor(
    bridge: BridgeTransport,
    builder: ServerBuilder,
    context: FactoryContext,
    sdk: PerRequestSdk | undefined,
    clock: Clock,
    onEnd: () => void,
    onClosed: () => void,
  ) {
    this.bridge = bridge;
    this.#builder = builder;
    this.#state = context.state;
    this.#lifetime = context.lifetime;
    this.#sdk = sdk;
    // The context of a shared server describes no client.
    this.#isShared = context.clientCapabilities === undefined;
    this.#context = context;
    this.#onEnd = onEnd;
    this.#onClosed = onClosed;
    this.#abandoned = new Promise<never>((_, reject) => (this.#abandon = reject));
    this.#abandoned.catch(ignore);
    this.#opening = this.#abandoned;
    this.#tools = new ToolList(bridge, clock);
    // A server of one call lists its tools for that call only, and may announce a change each time.
    const toolsChanged = (): void => (this.#isShared ? this.#tools.changed() : undefined);
    bridge.attach({ ended: () => this.close(), toolsChanged });
  }

  /** Whether the server serves MCP 2026-07-28 itself. It is known once the server is open. */
  get isNative(): boolean {
    return this.#native !== undefined;
  }

  /**
   * Whether the open server may serve a client. A server that serves MCP 2026-07-28 itself may serve all, as each request
   * describes its client. A server of the session era learns of one client, by `initialize`.
   *
   * @param client - Returns the digest of the client's {@link sharedFactsOf}.
   */
  isFor(client: () => string): boolean {
    return this.isNative || this.#initializedFor === undefined || this.#initializedFor === client();
  }

  /** Whether its opening is over. No client needs to hear of a change before that. */
  get hasOpened(): boolean {
    return this.#server !== undefined;
  }

  /**
   * The server's description of itself, if it can take the request at once. Most requests take only this path.
   *
   * @throws Refusal `headerMismatch` when the arguments of a tool differ from their headers.
   */
  factsIfReady({ request, headers }: OpeningCall): ServerFacts | undefined {
    if (this.#facts === undefined || this.#state.isShared) return undefined;
    const tool = toolOf(request);
    if (tool === undefined) return this.#facts;
    const declared = this.#tools.known(tool);
    if (declared === undefined) return undefined;
    checkMirrored(headers, declared, request);
    return this.#facts;
  }

  /**
   * Builds the server and makes the handshake of its era, within `openTimeout`. Requests that come meanwhile await the same
   * opening. Each request begins with the state as the store has it.
   *
   * @throws Refusal `invalidEnvelope` when the server refuses the client's description; `storeUnavailable`. If the opening
   * fails, nothing of the server remains.
   */
  async open(call: OpeningCall): Promise<ServerFacts> {
    const context = this.#context;
    if (context === undefined) await this.#state.load();
    else this.#opening = this.#open(call, context);
    return this.#opening;
  }

  /**
   * Compares the arguments of a tool with their headers. A server that does not tell the tool's schema is asked for its tools.
   *
   * @param signal - Aborts when the call no longer waits.
   * @throws Refusal `headerMismatch` when they differ.
   */
  async checkArguments({ request, headers, extra }: OpeningCall, signal: AbortSignal): Promise<void> {
    const tool = toolOf(request);
    if (tool === undefined) return;
    const schema = this.#tools.known(tool) === undefined ? this.#native?.inputSchemaOf(tool) : undefined;
    if (schema !== undefined) this.#tools.learn(tool, schema);
    const params = this.isNative ? { _meta: envelopeOf(request) } : undefined;
    checkMirrored(headers, await this.#tools.headersOf(tool, { params, extra, signal }), request);
  }

  /** Closes the server, or gives its opening up. */
  close(reason?: Error): void {
    // Nothing waits for a server that is open, and an error costs its stack.
    if (this.#facts === undefined) {
      this.#closesFor ??= reason ?? new Refusal('sessionClosed');
      this.#abandon(this.#closesFor);
    }
    if (this.#context !== undefined || this.#server !== undefined) this.#end();
  }

  async #open(call: OpeningCall, context: FactoryContext): Promise<ServerFacts> {
    // The context is not kept, as the headers of a request may be larger than a server.
    this.#context = undefined;
    try {
      await this.#state.load();
      this.#checkOpen();
      const built = await this.#builder.build(
        context,
        this.bridge,
        this.#abandoned,
        () => this.#handshake(call),
        ignore,
        (server) => this.#adapt(server),
      );
      this.#server = built.server;
      this.#checkOpen();
      return (this.#facts = built.result);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  /** The server may be closed while it opens. */
  #checkOpen(): void {
    if (this.#closesFor !== undefined) throw this.#closesFor;
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#onEnd();
    this.#lifetime.end();
    void this.#close().finally(this.#onClosed);
  }

  /** The `close` of a server may hang, or never reach the bridge. */
  async #close(): Promise<void> {
    if (this.#server !== undefined) await this.#builder.close(this.#server);
    await this.bridge.close();
  }

  #adapt(server: McpServerLike): McpServerLike {
    this.#native = this.#sdk?.adapt(server);
    return this.#native ?? server;
  }

  async #handshake(call: OpeningCall): Promise<ServerFacts> {
    const facts = this.isNative ? await this.#discover(call) : await this.#initialize(call);
    await call.prepare?.(facts, call.extra, this.isNative);
    return facts;
  }

  /** Only subscriptions need the facts of a server that serves MCP 2026-07-28 itself. */
  async #discover({ request, extra, prepare }: OpeningCall): Promise<ServerFacts> {
    if (prepare === undefined) return {};
    const answer = await this.bridge.ask('server/discover', { _meta: envelopeOf(request) }, extra).answer;
    if ('error' in answer) throw new Refusal('invalidEnvelope');
    return { ...answer.result, serverInfo: answer.result._meta?.[SERVER_INFO] };
  }

  async #initialize({ envelope, extra }: OpeningCall): Promise<ServerFacts> {
    // Without the option `sdk`, only clients with equal facts share a server in any case.
    if (this.#isShared && this.#sdk !== undefined) this.#initializedFor = digestOf(sharedFactsOf(envelope));
    const { clientInfo: given = UNNAMED, clientCapabilities } = envelope;
    // A field that only one of several clients has must not fail the opening for all.
    const clientInfo = this.#isShared ? { name: given.name, version: given.version } : given;
    const capabilities = without(clientCapabilities, 'tasks');
    const params = { protocolVersion: LATEST_PROTOCOL_VERSION, capabilities, clientInfo };
    const answer = await this.bridge.ask('initialize', params, extra).answer;
    if ('error' in answer) throw new Refusal('invalidEnvelope');
    this.bridge.tell({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return answer.result;
  }
}

/** @throws Refusal `headerMismatch` */
function checkMirrored(headers: IncomingHttpHeaders, declared: readonly ParamHeader[], request: JSONRPCRequest): void {
  if (!mirrorArguments(headers, declared, request.params?.arguments)) throw new Refusal('headerMismatch');
}

/** The facts that must be equal for clients to share a server of the session era. */
export function sharedFactsOf({ clientInfo, clientCapabilities }: Envelope): readonly unknown[] {
  return [clientInfo?.name ?? null, clientCapabilities];
}

/** The fields of `_meta` by which a client of MCP 2026-07-28 describes itself, for a request of the router's own. */
function envelopeOf({ params }: JSONRPCRequest): Fields {
  return Object.fromEntries(Object.entries(params?._meta ?? {}).filter(([name]) => name.startsWith(RESERVED_PREFIX)));
}
