import type { JSONRPCNotification, JSONRPCRequest } from '../../../protocol/messages.js';
import { Refusal } from '../../../errors.js';
import type { Exchange } from '../../../http/exchange.js';
import type { Envelope } from '../../../http/per-request/envelope.js';
import type { Post } from '../../../http/receive.js';
import type { TransportContext, TransportSide } from '../../../transport/transport-types.js';
import type { RequestServer } from '../bridge/request-server.js';
import type { Results } from '../results.js';
import type { ServerLease } from '../server-pool.js';
import { Shares, type ShareLimits } from '../shares.js';
import { Announcements } from './announcements.js';
import { filterOf } from './filter.js';
import { Subscription } from './subscription.js';

type NewServer = (exchange: Exchange, envelope: Envelope) => ServerLease<RequestServer>;

/** The open `subscriptions/listen` of an endpoint. Each has a server of its own until its end. */
export class OpenSubscriptions {
  readonly #side: TransportSide;
  readonly #results: Results;
  readonly #newServer: NewServer;
  readonly #shares: Shares;
  readonly #announcements: Announcements;
  readonly #open = new Set<Subscription>();

  constructor(context: TransportContext, results: Results, limits: ShareLimits, newServer: NewServer) {
    this.#side = { sessionId: undefined, context, owner: undefined, disconnected: () => undefined };
    this.#results = results;
    this.#newServer = newServer;
    this.#shares = new Shares(limits);
    this.#announcements = new Announcements(context.clock);
  }

  /**
   * Opens a subscription. Resolves when its stream has begun.
   *
   * @throws Refusal `notAcceptable` when the client accepts no stream; `invalidFilter`; `subscriptionsAtCapacity`; those of a
   * server's opening.
   */
  async listen(exchange: Exchange, { form }: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    const { principal, res, req, extra } = exchange;
    const requested = filterOf(request);
    if (requested === undefined) throw new Refusal('invalidFilter');
    if (form === 'json') throw new Refusal('notAcceptable');
    if (!this.#shares.take(principal)) throw new Refusal('subscriptionsAtCapacity');
    const lease = this.#newServer(exchange, envelope);
    const { server } = lease;
    const subscription = new Subscription({
      request,
      requested,
      server: server.bridge,
      results: this.#results,
      onEnd: () => {
        this.#open.delete(subscription);
        this.#announcements.leave(principal, subscription);
        this.#shares.give(principal);
        lease.release();
      },
    });
    const hangUp = (): void => server.close();
    res.once('close', hangUp);
    try {
      const prepare = subscription.subscribe.bind(subscription);
      await server.open({ request, envelope, headers: req.headers, extra, prepare });
    } catch (error) {
      subscription.end();
      throw error;
    } finally {
      res.off('close', hangUp);
    }
    this.#open.add(subscription);
    this.#announcements.join(principal, subscription);
    subscription.open(res, this.#side);
  }

  /** Tells the streams of a principal what another server of the principal announced. */
  announce(principal: string | undefined, notification: JSONRPCNotification): void {
    this.#announcements.announce(principal, notification);
  }

  /** Ends every stream. */
  endAll(): void {
    for (const subscription of this.#open) subscription.end();
  }
}
