import { isThenable, onRejection } from './user-code.js';

type Listener<Args extends unknown[]> = (...args: Args) => unknown;

interface Registration {
  readonly listener: Listener<never[]>;
  readonly once: boolean;
}

/**
 * Typed events whose listeners cannot disturb the caller of `emit`. An error or a rejection of one listener is reported, and the
 * other listeners still run. Without a listener, an event costs one look-up.
 */
export class Emitter<EventMap extends { [K in keyof EventMap]: unknown[] }> {
  readonly #listeners = new Map<keyof EventMap, readonly Registration[]>();
  readonly #onFailure: (name: string, error: unknown) => void;

  constructor(onFailure: (name: string, error: unknown) => void) {
    this.#onFailure = onFailure;
  }

  on<K extends keyof EventMap>(name: K, listener: Listener<EventMap[K]>): this {
    return this.#add(name, { listener, once: false });
  }

  once<K extends keyof EventMap>(name: K, listener: Listener<EventMap[K]>): this {
    return this.#add(name, { listener, once: true });
  }

  off<K extends keyof EventMap>(name: K, listener: Listener<EventMap[K]>): this {
    this.#keep(name, (registration) => registration.listener !== listener);
    return this;
  }

  emit<K extends keyof EventMap>(name: K, ...args: EventMap[K]): void {
    const registrations = this.#listeners.get(name);
    if (registrations === undefined) return;
    for (const registration of registrations) {
      // An earlier listener may have emitted the same event. That has already called and removed this listener.
      if (registration.once && !this.#remove(name, registration)) continue;
      try {
        const result = (registration.listener as Listener<EventMap[K]>)(...args);
        if (result !== undefined && isThenable(result)) this.#reportRejection(name, result);
      } catch (error) {
        this.#onFailure(String(name), error);
      }
    }
  }

  /** A method of its own, so that {@link emit} allocates no closure for a listener that returns nothing. */
  #reportRejection(name: keyof EventMap, result: object): void {
    onRejection(result, (error) => this.#onFailure(String(name), error));
  }

  #add(name: keyof EventMap, registration: Registration): this {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), registration]);
    return this;
  }

  #remove(name: keyof EventMap, registration: Registration): boolean {
    if (this.#listeners.get(name)?.includes(registration) !== true) return false;
    this.#keep(name, (other) => other !== registration);
    return true;
  }

  #keep(name: keyof EventMap, isKept: (registration: Registration) => boolean): void {
    const rest = this.#listeners.get(name)?.filter(isKept) ?? [];
    if (rest.length === 0) this.#listeners.delete(name);
    else this.#listeners.set(name, rest);
  }
}
