import { setMaxListeners } from 'node:events';
import type { ClientCapabilities, Implementation } from '../../protocol/client.js';
import type { Era, OpeningRequest, ServerContext } from '../../options/options.js';
import type { AppState } from '../records/app-state.js';

/** The fields of a context that a request determines. {@link Life} has the others. */
export interface ContextInit extends Omit<ServerContext, 'signal' | 'state' | 'onHibernate' | 'era'> {
  /** Default: `session`. */
  readonly era?: Era;
  readonly state: AppState;
}

/**
 * The lifetime of a factory's server: one epoch of a session, or a single request. Its end aborts a signal. The signal is made
 * at its first use, as most servers never use it.
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

  /** Runs the callbacks of `onHibernate`, one after the other. Rejects with the first error. */
  async save(): Promise<void> {
    for (const save of this.#saves ?? []) await save();
  }
}

/** The context that `serverFactory` gets. It is dropped after opening: a request's headers take more memory than a session. */
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

  /** Outlives the context. */
  get life(): Life {
    return this.#life;
  }
}
