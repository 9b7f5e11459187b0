import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { OpeningRequest, ServerContext } from '../options.js';

/** All of a context but what the session itself brings about. */
export type ContextInit = Omit<ServerContext, 'signal'>;

/** The end of what a factory's server is for, as an `AbortSignal` that is made when it is first asked for; most never are. */
export class EndSignal {
  #controller: AbortController | undefined;
  #ended = false;

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

/** The context that `serverFactory` gets. Not kept beyond the opening: a request's headers are larger than a session. */
export class FactoryContext implements ServerContext {
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  readonly clientInfo: Implementation | undefined;
  readonly clientCapabilities: ClientCapabilities | undefined;
  readonly restored: boolean;
  readonly epoch: number;
  readonly #ending = new EndSignal();

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
    return this.#ending.signal;
  }

  /** What outlives the context. */
  get ending(): EndSignal {
    return this.#ending;
  }
}
