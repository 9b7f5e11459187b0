import { setMaxListeners } from 'node:events';

/**
 * The lifetime of a factory's server: one epoch of a session, or a single request. Its end aborts a signal. The signal is made
 * at its first use, as most servers never use it.
 */
export class ServerLifetime {
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
