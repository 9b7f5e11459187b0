import type { Logger } from 'pino';
import { onRejection } from '../user-code.js';

/**
 * Makes a logger safe to call from anywhere, its children included: an event listener, a timer, the middle of an answer.
 *
 * A user's logger may throw: a mixin that reads an `AsyncLocalStorage` outside of a context, a serializer, a destination that
 * was destroyed. Thrown out of a `finish` listener, as from pino-http's, that would end the process.
 *
 * @param onLost - Told of each line that could not be handed over. It must not log.
 */
export function guardLogger(logger: Logger, onLost: (error: unknown) => void): Logger {
  // The target is an empty object, as a proxy must give a frozen logger's methods back unchanged.
  return new Proxy({} as unknown as Logger, new LoggerGuard(logger, onLost));
}

type Callable = (...args: unknown[]) => unknown;

class LoggerGuard implements ProxyHandler<Logger> {
  readonly #logger: Logger;
  readonly #onLost: (error: unknown) => void;

  constructor(logger: Logger, onLost: (error: unknown) => void) {
    this.#logger = logger;
    this.#onLost = onLost;
  }

  get(_target: Logger, key: string | symbol, proxy: Logger): unknown {
    const value = this.#read(key);
    if (typeof value !== 'function') return value;
    if (key === 'child') return (...args: unknown[]) => this.#child(value as Callable, args, proxy);
    return (...args: unknown[]) => this.#call(value as Callable, args);
  }

  set(_target: Logger, key: string | symbol, value: unknown): boolean {
    return Reflect.set(this.#logger, key, value);
  }

  has(_target: Logger, key: string | symbol): boolean {
    return Reflect.has(this.#logger, key);
  }

  #read(key: string | symbol): unknown {
    try {
      return Reflect.get(this.#logger, key);
    } catch (error) {
      this.#onLost(error);
      return undefined;
    }
  }

  /** The parent takes the place of a child that cannot be made: its lines lack the bindings, but they are there. */
  #child(make: Callable, args: unknown[], parent: Logger): Logger {
    try {
      const child: unknown = Reflect.apply(make, this.#logger, args);
      return typeof child === 'object' && child !== null ? guardLogger(child as Logger, this.#onLost) : parent;
    } catch {
      return parent;
    }
  }

  #call(log: Callable, args: unknown[]): unknown {
    try {
      const returned: unknown = Reflect.apply(log, this.#logger, args);
      onRejection(returned, this.#onLost);
      return returned;
    } catch (error) {
      this.#onLost(error);
      return undefined;
    }
  }
}
