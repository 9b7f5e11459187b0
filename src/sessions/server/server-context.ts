import type { ClientCapabilities, Implementation } from '../../protocol/client.js';
import type { Era, OpeningRequest, ServerContext } from '../../options/options.js';
import type { AppState } from '../records/app-state.js';
import { ServerLifetime } from './server-lifetime.js';

/** The fields of a context that a request determines. {@link ServerLifetime} has the others. */
export interface ContextInit extends Omit<ServerContext, 'signal' | 'state' | 'onHibernate' | 'era'> {
  /** Default: `session`. */
  readonly era?: Era;
  readonly state: AppState;
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
  readonly #lifetime = new ServerLifetime();

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
    return this.#lifetime.signal;
  }

  onHibernate(save: () => void | Promise<void>): void {
    this.#lifetime.onHibernate(save);
  }

  /** Outlives the context. */
  get lifetime(): ServerLifetime {
    return this.#lifetime;
  }
}
