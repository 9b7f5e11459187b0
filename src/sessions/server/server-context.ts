import { setMaxListeners } from 'node:events';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { Era, OpeningRequest, ServerContext } from '../../options/options.js';
import type { AppState } from '../records/app-state.js';

/** All of a context but what the session itself brings about. */
export interface ContextInit extends Omit<ServerContext, 'signal' | 'state' | 'onHibernate' | 'era'> {
  /** Default: `session`. */
  readonly era?: Era;
  readonly state: AppState;
}

/**
 * What a factory's server is for: a session from one build to the next, or a single request. Its end is an `AbortSignal` that is
 * made when it is first asked for; most never are.
 */
export class Life {
  #controller: AbortController | undefined;
  #ended = false;
  #saves: (() => void | Promise<void>)[] | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // Each call that passes the signal on adds a listener. By default Node warns of a leak at the eleventh.
      setMaxListeners(0, this.#controller.signal);
    }
    if (this.#ended) this.#controller.abort();
    return this.#controller.signal;
  }

  end(): void {
    this.#ended = true;
    this.#controller?.abort();
  }

  onHibernate(save: () => void | Promise<void>): void {
    this.#saves ??= [];
    this.#saves.push(save);
  }

  /** Rejects with whatever the first of them throws that does. */
  async save(): Promise<void> {
    for (const save of this.#saves ?? []) await save();
  }
}

/** The context that `serverFactory` gets. Not kept beyond the opening: a request's headers are larger than a session. */
export class FactoryContext implements ServerContext {
  readonly era: Era;
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  readonly clientInfo: Implementation | undefined;
  readonly clientCapabilities: ClientCapabilities | undefined;
  readonly restored: boolean;
  readonly epoch: number;
  readonly state: AppState;
  readonly #life = new Life();

  constructor(init: ContextInit) {
    this.era = init.era ?? 'session';
    this.sessionId = init.sessionId;
    this.principal = init.principal;
    this.req = init.req;
    this.clientInfo = init.clientInfo;
    this.clientCapabilities = init.clientCapabilities;
    this.restored = init.restored;
    this.epoch = init.epoch;
    this.state = init.state;
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  onHibernate(save: () => void | Promise<void>): void {
    this.#life.onHibernate(save);
  }

  /** What outlives the context. */
  get life(): Life {
    return this.#life;
  }
}
