import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { OpeningRequest, ServerContext } from '../options.js';

/** All of a context but what the session itself brings about. */
export type ContextInit = Omit<ServerContext, 'signal'>;

/** The context that `serverFactory` gets; its signal is made when it is first asked for, as most factories never do. */
export class FactoryContext implements ServerContext {
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  readonly clientInfo: Implementation | undefined;
  readonly clientCapabilities: ClientCapabilities | undefined;
  readonly restored: boolean;
  readonly epoch: number;
  #controller: AbortController | undefined;
  #ended = false;

  constructor(init: ContextInit) {
    this.sessionId = init.sessionId;
    this.principal = init.principal;
    this.req = init.req;
    this.clientInfo = init.clientInfo;
    this.clientCapabilities = init.clientCapabilities;
    this.restored = init.restored;
    this.epoch = init.epoch;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#ended) this.#controller.abort();
    return this.#controller.signal;
  }

  end(): void {
    this.#ended = true;
    this.#controller?.abort();
  }
}
