import type { ServerResponse } from 'node:http';
import type { JSONRPCNotification, JSONRPCRequest, RequestId } from '../../../protocol/messages.js';
import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import { SUBSCRIPTION_ID } from '../../../protocol/per-request-era.js';
import { isObject } from '../../../runtime/checks.js';
import type { Fields } from '../../../transport/jsonrpc.js';
import { Reply, type ReplyListener } from '../../../transport/reply.js';
import type { Delivery, TransportSide } from '../../../transport/transport-types.js';
import { refuseQuestion } from '../bridge/answers.js';
import type { BridgeTransport, ServerListener } from '../bridge/bridge-transport.js';
import type { Results, ServerFacts } from '../results.js';
import { keyOf } from './announcements.js';
import { accepts, agreedFilter, isAnnouncement, withUris, type Filter } from './filter.js';

const METHOD = 'subscriptions/listen';

/** The parts of a subscription. */
export interface SubscriptionInit {
  readonly id: RequestId;
  readonly bridge: BridgeTransport;
  readonly results: Results;
  /** Called once, when the stream is over or was ended. */
  onEnd(): void;
}

/**
 * One `subscriptions/listen`: a stream, and the server whose announcements it carries (MCP 2026-07-28,
 * basic/patterns/subscriptions).
 *
 *   subscribing ──acknowledged──▶ open ──server ends it, or client closes it──▶ ended
 */
export class Subscription implements ServerListener, ReplyListener {
  readonly #init: SubscriptionInit;
  readonly #id: RequestId;
  #filter: Filter = {};
  #facts: ServerFacts = {};
  /** Announcements of the server before the acknowledgement, the latest of each kind. */
  readonly #early = new Map<string, JSONRPCNotification>();
  #reply: Reply | undefined;
  #ended = false;

  constructor(init: SubscriptionInit) {
    this.#init = init;
    this.#id = init.id;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /**
   * Agrees on the filter after the handshake with the server, and subscribes to each resource. Those that it refuses are left out.
   *
   * @param requested - The filter that the client asks for.
   */
  async subscribe(requested: Fields, facts: ServerFacts, extra: MessageExtraInfo, isNative: boolean): Promise<void> {
    const { bridge } = this.#init;
    const { capabilities } = facts;
    this.#facts = facts;
    this.#filter = agreedFilter(requested, isObject(capabilities) ? capabilities : {});
    bridge.listen(this);
    // MCP 2026-07-28 has no such method: a server of its own announces without being asked.
    if (isNative) return;
    const uris = await Promise.all(
      (this.#filter.resourceSubscriptions ?? []).map(async (uri) => {
        const answer = await bridge.ask('resources/subscribe', { uri }, extra).answer;
        return 'error' in answer ? [] : [uri];
      }),
    );
    this.#filter = withUris(this.#filter, uris.flat());
  }

  /** Begins the stream with the acknowledgement. It ends at once if the agreed filter is empty. */
  open(res: ServerResponse, side: TransportSide): void {
    this.#reply = new Reply(res, 'subscription', side, this);
    this.#send({ method: 'notifications/subscriptions/acknowledged', params: { notifications: this.#filter } });
    for (const notification of this.#early.values()) void this.announce(notification);
    this.#early.clear();
    if (Object.keys(this.#filter).length === 0) this.end();
  }

  /** Whether its client gets such a notification. */
  accepts(notification: JSONRPCNotification): boolean {
    return accepts(this.#filter, notification);
  }

  /**
   * Sends a notification of a type that was agreed on.
   *
   * @returns The back-pressure of the client's reader.
   */
  announce(notification: JSONRPCNotification): Promise<void> | undefined {
    if (this.#ended || !this.accepts(notification)) return undefined;
    if (this.#reply === undefined) {
      this.#early.set(keyOf(notification), notification);
      return undefined;
    }
    this.#send(notification);
    return this.#reply.drained();
  }

  /**
   * Sends a notification of the app.
   *
   * @returns Undefined when the stream is over, or its filter leaves such a notification out.
   */
  notify(notification: JSONRPCNotification): Delivery | undefined {
    if (this.#ended) return undefined;
    if (!isAnnouncement(notification)) return 'dropped';
    if (!this.accepts(notification)) return undefined;
    this.#send(notification);
    return this.#reply?.live === true ? 'delivered' : 'dropped';
  }

  /** Ends the stream with the result that tells its client so ("Graceful Closure"). */
  end(): void {
    if (this.#ended) return;
    const result = this.#init.results.complete(METHOD, { _meta: { [SUBSCRIPTION_ID]: this.#id } }, this.#facts);
    this.#reply?.lastEvent(JSON.stringify({ jsonrpc: '2.0', id: this.#id, result }));
    this.#over();
  }

  asked(question: JSONRPCRequest): void {
    refuseQuestion(this.#init.bridge, question, METHOD);
  }

  notified(notification: JSONRPCNotification): Promise<void> | undefined {
    return this.announce(notification);
  }

  closed(): void {
    this.end();
  }

  replyClosed(): void {
    this.#over();
  }

  #over(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#early.clear();
    this.#init.onEnd();
  }

  #send({ method, params }: Omit<JSONRPCNotification, 'jsonrpc'>): void {
    const meta = { ...params?._meta, [SUBSCRIPTION_ID]: this.#id };
    this.#reply?.event(JSON.stringify({ jsonrpc: '2.0', method, params: { ...params, _meta: meta } }));
  }
}
