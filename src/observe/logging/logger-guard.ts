import type { Logger } from 'pino';
import { onRejection } from '../../runtime/user-code.js';
import type { CoreEvents } from '../../events.js';
import type { ResolvedOptions } from '../../options/options.js';
import type { Emitter } from '../../runtime/emitter.js';
import { stdoutDestination } from './log-destination.js';
import { errorLine } from './log-text.js';
import { createLogger } from './logging.js';

/** Makes the logger of a router. It never throws: lost lines are counted, and the first failure is a warning of the process. */
export function createGuardedLogger({ logger, clock }: ResolvedOptions, events: Emitter<CoreEvents>): Logger {
  const unwritten = (): void => events.emit('logLost', 'unwritten');
  const destination = logger === undefined ? stdoutDestination(clock, unwritten) : undefined;
  let warned = false;
  return guardLogger(createLogger(logger, destination), (error) => {
    events.emit('logLost', 'threw');
    if (!warned)
      process.emitWarning(`mcpRouter: the logger throws, and its lines are lost: ${errorLine(error).message}`);
    warned = true;
  });
}

/**
 * Makes a logger, and its children, safe to call from anywhere: an event listener, a timer, the middle of a reply.
 *
 * The app's logger may throw: a mixin that reads an `AsyncLocalStorage` outside of a context, a serializer, a destroyed
 * destination. An error in a `finish` listener, such as pino-http's, would end the process.
 *
 * @param onLost - Called for each line that the logger did not accept. It must not log.
 */
export function guardLogger(logger: Logger, onLost: (error: unknown) => void): Logger {
  // The target is an empty object: a proxy of a frozen logger would have to return its methods unchanged.
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

  /** If a child cannot be made, the parent takes its place: the lines lack the bindings, but are not lost. */
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
