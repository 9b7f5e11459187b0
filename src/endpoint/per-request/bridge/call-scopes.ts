import { AsyncLocalStorage } from 'node:async_hooks';
import type { RequestId } from '../../../protocol/messages.js';

/** The request that code of a server works on. */
export interface CallScope {
  /** The transport of the server. */
  readonly server: object;
  /** The ID that the server knows the request by; undefined for work that began with `notifications/initialized`. */
  readonly id: RequestId | undefined;
}

/**
 * Tells which request a server works on, from a handler's first step to its last.
 *
 * Up to Node 22 a storage in use is copied with each promise of the process. That costs a sixth of the CPU time of a call, in
 * sessions too. So the storage is on only while a scope is in use.
 */
export class CallScopes {
  readonly #storage = new AsyncLocalStorage<CallScope>();
  #inUse = 0;

  /** Begins work in a scope. The scope is in use until `leave`. */
  enter(scope: CallScope, work: () => void): void {
    this.#inUse += 1;
    this.#storage.run(scope, work);
  }

  /** Called once for each `enter`, when no code asks for that scope any more. Code that still runs in it has no scope from then on. */
  leave(): void {
    this.#inUse -= 1;
    if (this.#inUse === 0) this.#storage.disable();
  }

  /** The scope of the code that calls; undefined outside of all. */
  current(): CallScope | undefined {
    return this.#storage.getStore();
  }
}

/**
 * The scopes of all servers. It is the one state of a module in this package: on Node 20 one storage for each server took ten times
 * as long as one for all.
 */
export const callScopes = new CallScopes();
