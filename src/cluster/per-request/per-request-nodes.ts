import { createHmac } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { JSONRPCNotification } from '../../protocol/messages.js';
import { orStoreUnavailable, Refusal } from '../../errors.js';
import type { CoreEvents } from '../../events.js';
import type { OtherNodes } from '../../endpoint/per-request/other-nodes.js';
import type { ForwardedRequest } from '../../endpoint/session/forwarding-port.js';
import type { Emitter } from '../../runtime/emitter.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import { sendRequest, UNSIGNED } from '../forwarding/owner-routing.js';
import type { ResponseRelay } from '../forwarding/response-relay.js';
import type { MessageId } from '../membership/challenges.js';
import type { Lease } from '../membership/lease.js';
import type { Peers } from '../membership/peers.js';
import { answerOutcomeUnknown, outcomeUnknownEvents } from '../outcome-unknown.js';
import type { NodePort } from '../port/node-port.js';
import { NodeQueues, type Reach } from '../port/node-queues.js';
import { Announcer, LOST } from './announcer.js';

/** The longest wait before a node that does not take a retry is tried again, in ms. */
const WAIT = 250;
/** The form of a node's ID. Clients name one, and Redis is asked for no other. */
const NODE_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

export interface PerRequestNodesInit extends Reach {
  readonly nodeId: () => string;
  /** The secret that all nodes share. */
  readonly secret: string;
  readonly peers: Pick<Peers, 'member' | 'untilGone'>;
  readonly port: NodePort;
  readonly relay: Pick<ResponseRelay, 'relay'>;
  readonly lifecycle: Lifecycle;
  readonly events: Emitter<CoreEvents>;
  /** Whether nodes can reach each other. */
  readonly reaches: boolean;
}

/** Forwards a retry to the node where its call is suspended, and announcements to all nodes. */
export class PerRequestNodes implements OtherNodes {
  readonly sessionKey: Buffer;
  readonly #init: PerRequestNodesInit;
  readonly #announcer: Announcer;

  constructor(init: PerRequestNodesInit) {
    this.#init = init;
    // A key of its own, as the secret signs the messages between nodes.
    this.sessionKey = createHmac('sha256', init.secret).update('extra.sessionId of a principal').digest();
    const report = (what: string, error: unknown): void => init.events.emit('failure', what, error);
    const queues = new NodeQueues<never>({
      ...init,
      send: (node, body, options) => init.port.request(node, 'announce', {}, body, options),
      read: (response) => Promise.resolve(response.resume()).then(() => []),
      report: (error) => report(LOST, error),
    });
    const tell = (announcement: string): unknown => queues.ask(announcement);
    this.#announcer = new Announcer({ tell, clock: init.clock, report });
  }

  get nodeId(): string {
    return this.#init.nodeId();
  }

  announce(principal: string | undefined, notification: JSONRPCNotification): void {
    this.#announcer.announce(principal, notification);
  }

  async endPrincipal(principal: string): Promise<void> {
    for (const { result } of await this.#init.port.broadcast('endPrincipal', { principal })) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  async forwardTo(nodeId: string, request: ForwardedRequest, res: ServerResponse): Promise<boolean> {
    const { peers, clock, claimTimeout, lifecycle, events } = this.#init;
    const deadline = clock.now() + claimTimeout;
    let first: MessageId | undefined;
    while (!res.destroyed) {
      const node = await this.#find(nodeId);
      // The call has died with its node. Where the node may have begun the retry, only that node knew the outcome.
      if (node === undefined && first !== undefined) return this.#answerUnknown(request, res);
      if (node === undefined) return false;
      const remaining = deadline - clock.now();
      if (remaining <= 0 || lifecycle.isClosing) {
        events.emit('forwarded', 'unreachable');
        throw new Refusal('ownerUnreachable');
      }
      const tried = await this.#send(node, request, res, remaining, first);
      if (tried === 'done') return true;
      first ??= tried;
      await peers.untilGone(node, Math.min(remaining, WAIT));
    }
    return true;
  }

  /** The node, if it is another one, and lives. */
  async #find(nodeId: string): Promise<Lease | undefined> {
    if (!this.#init.reaches || !NODE_ID.test(nodeId) || nodeId === this.nodeId) return undefined;
    return orStoreUnavailable(this.#init.peers.member(nodeId));
  }

  /** @returns The identity of a message that the node may have begun; undefined when it did nothing. */
  async #send(
    node: Lease,
    request: ForwardedRequest,
    res: ServerResponse,
    time: number,
    repeats: MessageId | undefined,
  ): Promise<'done' | MessageId | undefined> {
    const { port, relay, events } = this.#init;
    const sending = sendRequest(port, node, request, res, { time, repeats });
    const sent = await sending.sent;
    if (res.destroyed) return 'done';
    if (sent.outcome === 'untaken') {
      if (sent.why === 'tooLarge') throw new Refusal('bodyTooLarge');
      if (sent.why === 'unsigned') throw new Refusal('ownerUnreachable', { cause: new Error(UNSIGNED) });
      return undefined;
    }
    if (sent.outcome === 'unknown' && sent.mayAsk) return sending.id;
    if (sent.outcome === 'answered') {
      events.emit('forwarded', 'answered');
      await relay.relay(sent.response, res, false, () => outcomeUnknownEvents(request));
    } else {
      this.#answerUnknown(request, res);
    }
    return 'done';
  }

  #answerUnknown(request: ForwardedRequest, res: ServerResponse): true {
    this.#init.events.emit('forwarded', 'lost');
    answerOutcomeUnknown(res, request);
    return true;
  }
}
