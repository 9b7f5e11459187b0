import type { JSONRPCNotification, JSONRPCRequest } from '../../../protocol/messages.js';
import { Refusal } from '../../../errors.js';
import type { Exchange } from '../../../http/exchange.js';
import type { Envelope } from '../../../http/per-request/envelope.js';
import type { Post } from '../../../http/receive.js';
import type { TransportContext, TransportSide } from '../../../transport/transport-types.js';
import type { RequestServer } from '../bridge/request-server.js';
import type { Results } from '../results.js';
import type { ServerLease } from '../server-pool.js';
import { sizeOf } from '../../../transport/request-memory.js';
import { keptMemory, Shares, type ShareLimits } from '../shares.js';
import { Announcements } from './announcements.js';
import { filterOf } from './filter.js';
import { Subscription } from './subscription.js';

type NewServer = (exchange: Exchange, envelope: Envelope) => ServerLease<RequestServer>;

/** The open `subscriptions/listen` of an endpoint. Each has a server of its own until its end. */
export class OpenSubscriptions {
  readonly #context: TransportContext;
  readonly #results: Results;
  readonly #newServer: NewServer;
  readonly #shares: Shares;
  /** Bytes of the filters. */
  readonly #memory: Shares;
  readonly #announcements: Announcements;
  /** With the principal of each. */
  readonly #open = new Map<Subscription, string | undefined>();

  constructor(context: TransportContext, results: Results, limits: ShareLimits, newServer: NewServer) {
    this.#context = context;
    this.#results = results;
    this.#newServer = newServer;
    this.#shares = new Shares(limits);
    this.#memory = new Shares(keptMemory(context.requestMemory.limit));
    this.#announcements = new Announcements(context.clock);
  }

  /**
   * Opens a subscription. Resolves when its stream has begun.
   *
   * @throws Refusal `notAcceptable` when the client accepts no stream; `invalidFilter`; `subscriptionsAtCapacity`;
   * `bodiesAtCapacity` when requests in flight leave no memory; those of a server's opening.
   */
  async listen(exchange: Exchange, { form, memory }: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    const { principal, res, req, extra } = exchange;
    const requested = filterOf(request);
    if (requested === undefined) throw new Refusal('invalidFilter');
    if (form === 'json') throw new Refusal('notAcceptable');
    const kept = sizeOf(requested);
    if (!this.#take(principal, kept)) throw new Refusal('subscriptionsAtCapacity');
    const lease = this.#newServer(exchange, envelope);
    const { server } = lease;
    const subscription = new Subscription({
      id: request.id,
      bridge: server.bridge,
      results: this.#results,
      onEnd: () => {
        this.#open.delete(subscription);
        this.#announcements.leave(principal, subscription);
        this.#shares.give(principal);
        this.#memory.give(principal, kept);
        lease.release();
      },
    });
    const hangUp = (): void => server.close();
    res.once('close', hangUp);
    try {
      // Bound, as a closure would keep the request for as long as the one of `onEnd` lives.
      const prepare = subscription.subscribe.bind(subscription, requested);
      const open = server.open.bind(server, { request, envelope, headers: req.headers, extra, prepare });
      await this.#context.requestMemory.during(memory, open);
      // Its server was closed by the application before the stream could begin.
      if (subscription.hasEnded) throw new Refusal('sessionClosed');
    } catch (error) {
      subscription.end();
      throw error;
    } finally {
      res.off('close', hangUp);
    }
    this.#open.set(subscription, principal);
    this.#announcements.join(principal, subscription);
    subscription.open(res, this.#sideOf(principal));
  }

  #sideOf(principal: string | undefined): TransportSide {
    return { sessionId: undefined, principal, context: this.#context, owner: undefined, disconnected: () => undefined };
  }

  #take(principal: string | undefined, memory: number): boolean {
    if (!this.#shares.take(principal)) return false;
    if (this.#memory.take(principal, memory)) return true;
    this.#shares.give(principal);
    return false;
  }

  /** Carries an announcement of another server of the principal to the principal's streams. */
  announce(principal: string | undefined, notification: JSONRPCNotification): void {
    this.#announcements.announce(principal, notification);
  }

  /** The open ones, of one principal or of all. */
  streams(principal?: string): Subscription[] {
    const all = [...this.#open];
    return all.filter(([, owner]) => principal === undefined || owner === principal).map(([stream]) => stream);
  }

  /** Ends every stream. */
  endAll(): void {
    for (const subscription of this.#open.keys()) subscription.end();
  }
}
