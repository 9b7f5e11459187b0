import type { IncomingHttpHeaders } from 'node:http';
import type { JSONRPCRequest } from '../../../protocol/messages.js';
import { LATEST_PROTOCOL_VERSION } from '../../../protocol/session-era.js';
import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import { Refusal } from '../../../errors.js';
import type { Envelope } from '../../../http/per-request/envelope.js';
import { mirrorArguments, paramHeadersOf } from '../../../http/per-request/param-headers.js';
import type { McpServerLike } from '../../../options/options.js';
import type { ServerBuilder } from '../../../sessions/server/server-builder.js';
import type { FactoryContext } from '../../../sessions/server/server-context.js';
import { isObject, without } from '../../../transport/jsonrpc.js';
import type { ServerFacts } from '../results.js';
import type { BridgedServer } from './bridged-server.js';

/** A server that lists tools for ever must not hold up a call. */
const MAX_TOOL_PAGES = 100;
/** Servers of the session era want a name of every client. */
const UNNAMED = { name: 'unnamed', version: '0' };

const ignore = (): void => undefined;

/** The request that a server is opened for. */
export interface OpeningCall {
  readonly request: JSONRPCRequest;
  readonly envelope: Envelope;
  readonly headers: IncomingHttpHeaders;
  readonly extra: MessageExtraInfo;
  /** Prepares the server that was greeted, as a part of its opening. */
  readonly prepare?: (facts: ServerFacts, extra: MessageExtraInfo) => Promise<void>;
}

/** A server of the session era that serves one request, from its opening to its close. */
export class RequestServer {
  readonly bridge: BridgedServer;
  readonly #builder: ServerBuilder;
  readonly #context: FactoryContext;
  readonly #onClosed: () => void;
  readonly #abandoned: Promise<never>;
  #abandon: (error: Error) => void = ignore;
  #server: McpServerLike | undefined;
  #closing = false;

  constructor(bridge: BridgedServer, builder: ServerBuilder, context: FactoryContext, onClosed: () => void) {
    this.bridge = bridge;
    this.#builder = builder;
    this.#context = context;
    this.#onClosed = onClosed;
    this.#abandoned = new Promise<never>((_, reject) => (this.#abandon = reject));
    this.#abandoned.catch(ignore);
  }

  /**
   * Builds the server and greets it as a client of its era would, within `openTimeout`.
   *
   * @throws Refusal `invalidEnvelope` when the server refuses what the client says of itself; `headerMismatch` when the headers
   * differ from the arguments of the tool that is called. Then nothing of the server remains.
   */
  async open(call: OpeningCall): Promise<ServerFacts> {
    try {
      const built = await this.#builder.build(this.#context, this.bridge, this.#abandoned, () => this.#greet(call));
      this.#server = built.server;
      return built.result;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Gives the opening up, and closes a server that is open. */
  abandon(reason: Error): void {
    this.#abandon(reason);
    if (this.#server !== undefined) this.close();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#context.life.end();
    const closed = this.#server === undefined ? this.bridge.close() : this.#builder.close(this.#server);
    void closed.finally(this.#onClosed);
  }

  async #greet(call: OpeningCall): Promise<ServerFacts> {
    const { clientInfo = UNNAMED, clientCapabilities } = call.envelope;
    // Neither the tasks of 2025-11-25 nor what that revision does not know.
    const capabilities = without(clientCapabilities, 'tasks', 'extensions');
    const params = { protocolVersion: LATEST_PROTOCOL_VERSION, capabilities, clientInfo };
    const answer = await this.bridge.ask('initialize', params, call.extra).answer;
    if ('error' in answer) throw new Refusal('invalidEnvelope');
    this.bridge.tell({ jsonrpc: '2.0', method: 'notifications/initialized' });
    if (call.request.method === 'tools/call') await this.#checkArguments(call);
    await call.prepare?.(answer.result, call.extra);
    return answer.result;
  }

  async #checkArguments({ request, headers, extra }: OpeningCall): Promise<void> {
    const { name, arguments: args } = request.params ?? {};
    const tool = await this.#findTool(name, extra);
    if (tool !== undefined && !mirrorArguments(headers, paramHeadersOf(tool.inputSchema), args)) {
      throw new Refusal('headerMismatch');
    }
  }

  /** The tool as the server lists it; undefined when it lists none of that name. */
  async #findTool(name: unknown, extra: MessageExtraInfo) {
    let cursor: unknown;
    for (let page = 0; page < MAX_TOOL_PAGES; page += 1) {
      const answer = await this.bridge.ask('tools/list', cursor === undefined ? undefined : { cursor }, extra).answer;
      if ('error' in answer || !Array.isArray(answer.result.tools)) return undefined;
      const tool = answer.result.tools.filter(isObject).find((listed) => listed.name === name);
      cursor = answer.result.nextCursor;
      if (tool !== undefined || cursor === undefined) return tool;
    }
    return undefined;
  }
}
