import type { WireTransport } from '../../protocol/wire-transport.js';
import type { Clock } from '../../runtime/clock.js';
import { Refusal } from '../../errors.js';
import type { McpServerLike, ServerFactory } from '../../options/options.js';
import type { FactoryContext } from './server-context.js';
import { EventLoopBudget } from '../../runtime/event-loop-budget.js';

/** How long the router waits for a server's own `close`, in ms. */
const CLOSE_TIMEOUT = 5_000;

const ignore = (): void => undefined;

/** Runs the factory and checks its result. A router has one builder, which refuses a server that the factory returned before. */
export class ServerBuilder {
  readonly #factory: ServerFactory;
  readonly #clock: Clock;
  /** How long an opening may take, in ms. */
  readonly openTimeout: number;
  readonly #onFailure: (what: string, error: unknown) => void;
  /** Spreads the building of servers over several turns of the event loop. */
  readonly eventLoopBudget: EventLoopBudget;
  readonly #seen = new WeakSet<McpServerLike>();

  constructor(
    factory: ServerFactory,
    clock: Clock,
    openTimeout: number,
    onFailure: (what: string, error: unknown) => void,
  ) {
    this.#factory = factory;
    this.#clock = clock;
    this.openTimeout = openTimeout;
    this.#onFailure = onFailure;
    this.eventLoopBudget = new EventLoopBudget(clock);
  }

  /**
   * Builds a server, connects it and runs `first`, all within `openTimeout`. After a failure, the server and the transport are
   * closed. A server that the factory returns later is closed then.
   *
   * @param gone - Rejects when the opening is abandoned.
   * @param onSettled - Called when the factory, `connect` and `first` have settled. That may be long after this rejects.
   * @param adapt - Wraps what the factory returned, before it is connected.
   * @throws Refusal `openTimeout` when it takes longer than `openTimeout`; the errors of the factory, `connect` and `first`.
   */
  async build<T>(
    context: FactoryContext,
    transport: WireTransport & { readonly started: boolean },
    gone: Promise<never>,
    first: () => Promise<T>,
    onSettled: () => void = ignore,
    adapt: (server: McpServerLike) => McpServerLike = (server) => server,
  ): Promise<{ server: McpServerLike; result: T }> {
    let server: McpServerLike | undefined;
    let abandoned = false;
    const work = async (): Promise<{ server: McpServerLike; result: T }> => {
      const returned = this.#check(
        await this.eventLoopBudget.run(() => {
          if (abandoned) throw new Error('abandoned');
          return this.#factory(context);
        }),
      );
      const made = adapt(returned);
      if (abandoned) {
        await this.close(made);
        throw new Error('abandoned');
      }
      server = made;
      await made.connect(transport);
      if (!transport.started) throw new TypeError('connect() did not start the transport that it was given');
      return { server: made, result: await first() };
    };

    let timer: unknown;
    const late = new Promise<never>((_, reject) => {
      timer = this.#clock.setTimeout(() => reject(new Refusal('openTimeout')), this.openTimeout);
    });
    const working = work();
    working.then(onSettled, onSettled);
    try {
      return await Promise.race([working, late, gone]);
    } catch (error) {
      abandoned = true;
      context.lifetime.end();
      await transport.close();
      // A server that did not start this transport may be connected to another one. Closing the server would end that one.
      const closeIfConnected = async (): Promise<void> => {
        if (server !== undefined && transport.started) await this.close(server);
      };
      if (transport.started) await closeIfConnected();
      // `connect` may still be running, and may start the transport later.
      else void working.catch(ignore).then(closeIfConnected);
      throw error;
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }

  /** Closes a server. Never rejects. Waits for {@link CLOSE_TIMEOUT} at most. */
  async close(server: McpServerLike): Promise<void> {
    let timer: unknown;
    const late = new Promise<void>((resolve) => {
      timer = this.#clock.setTimeout(resolve, CLOSE_TIMEOUT);
    });
    try {
      await Promise.race([server.close(), late]);
    } catch (error) {
      this.#onFailure('server.close', error);
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }

  #check(server: unknown): McpServerLike {
    if (!isServer(server)) {
      throw new TypeError('serverFactory must return an McpServer or a Server, or a promise of one');
    }
    if (this.#seen.has(server)) {
      throw new Error(
        'serverFactory returned a server that it had returned before. A server is bound to one transport: to connect it a ' +
          'second time sends the answers of one client to another, or fails with "Already connected to a transport" ' +
          '(CVE-2026-25536). Build a new server in each call.',
      );
    }
    this.#seen.add(server);
    if (isConnected(server)) {
      throw new Error(
        'serverFactory returned a server that is connected already. Leave out the call of connect(): the router connects the ' +
          'server to the transport of its session.',
      );
    }
    return server;
  }
}

/** The low-level servers of both versions of the SDK have their transport as a property, and the others have such a server. */
function isConnected(server: object): boolean {
  const lowLevel: unknown = 'server' in server ? server.server : server;
  if (typeof lowLevel !== 'object' || lowLevel === null || !('transport' in lowLevel)) return false;
  return lowLevel.transport !== undefined && lowLevel.transport !== null;
}

function isServer(value: unknown): value is McpServerLike {
  if (typeof value !== 'object' || value === null || !('connect' in value) || !('close' in value)) return false;
  return typeof value.connect === 'function' && typeof value.close === 'function';
}
