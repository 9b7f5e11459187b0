import type { ServerResponse } from 'node:http';
import { wallTime, type Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import { orStoreUnavailable, Refusal } from '../../errors.js';
import type { CoreEvents, SessionInfo } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { nodeOf, type RecordStore } from '../../sessions/records/record-store.js';
import type { ForwardedRequest } from '../../endpoint/session/forwarding-port.js';
import { NotOwner, type UnownedSession } from '../../sessions/ownership.js';
import { replyEmpty } from '../../transport/response.js';
import { BackOff } from './back-off.js';
import type { OwnerCache } from './owner-cache.js';
import { readAnswer } from '../port/ask-node.js';
import type { NodePort, RequestOptions, Sending, Sent } from '../port/node-port.js';
import type { MessageId } from '../membership/challenges.js';
import type { Lease } from '../membership/lease.js';
import type { NodeMembership } from '../membership/membership.js';
import type { ResponseRelay } from './response-relay.js';
import type { Peers } from '../membership/peers.js';
import type { Migration, Tried } from '../migration/migration.js';
import type { StoredRecord } from '../../stores/session-store.js';
import { bodyOf } from '../../http/receive.js';
import { answerOutcomeUnknown, outcomeUnknownEvents, requestIdsOf } from '../outcome-unknown.js';

/** The shortest and the longest wait before the owner is looked up again, in ms. */
const WAITS = [10, 250] as const;

/** The shortest time for a try, in ms. A node needs about this long to answer. */
const LAST_TRY = 500;

/** The cause in the log, for the operator. */
export const UNSIGNED =
  'the node that owns the session does not know this one: is option cluster.secret the same on both?';

/** One request that is forwarded, across all tries. */
interface Forwarding {
  readonly request: ForwardedRequest;
  readonly res: ServerResponse;
  /** The first try after which it is unknown whether its node began the request. After it, no other node may be tried. */
  doubt: { readonly node: string; readonly id: MessageId } | undefined;
}

export interface OwnerRoutingInit {
  readonly node: NodeMembership;
  readonly peers: Peers;
  readonly owners: OwnerCache;
  readonly port: NodePort;
  /** The other nodes. None with `routing: 'migrate'`, as this node cannot reach them. */
  readonly others: () => Promise<Lease[]>;
  readonly relay: Pick<ResponseRelay, 'relay'>;
  readonly records: RecordStore;
  readonly mayUseRecord: (record: StoredRecord, id: string | undefined, caller: string | undefined) => boolean;
  /** Whether the session was closed so that another node can own it, and its record still names this node. */
  readonly isMoving: (sessionId: string) => boolean;
  readonly clock: Clock;
  /** A draining node claims no session. A closed node does not wait for other nodes. */
  readonly lifecycle: Lifecycle;
  readonly events: Emitter<CoreEvents>;
  /** In ms. */
  readonly claimTimeout: number;
  /** Moves sessions to this node. Undefined when requests are forwarded instead. */
  readonly migration: Migration | undefined;
}

/** No other node owns the session. `asked`: an earlier owner was asked before. */
interface NoOwner {
  readonly unowned: UnownedSession;
  readonly asked: boolean;
}

/** Whether the session ended after an owner was asked to end it. The owner's answer may have been lost. */
const isEnded = ({ unowned, asked }: NoOwner): boolean => asked && unowned.record === undefined;

type IsWanted = (record: StoredRecord) => boolean;

const ANY_NODE: IsWanted = () => true;

/**
 * `moving`: this node still has to release the session. `missing`: the owner may be alive, but its address is not known.
 */
type Owner = Lease | UnownedSession | 'moving' | 'missing';

/**
 * Finds the node that owns a request's session, and forwards the request. When that node cannot be reached, the request waits
 * until it answers again, or until its membership is over. This node never serves a session that another node may own.
 */
export class OwnerRouting {
  readonly #init: OwnerRoutingInit;
  readonly #backOff: BackOff;

  constructor(init: OwnerRoutingInit) {
    this.#init = init;
    this.#backOff = new BackOff(init.clock);
  }

  /** See {@link ForwardingPort.pauseRestoring}. */
  pauseRestoring(sessionId: string): void {
    this.#backOff.start(sessionId);
  }

  /** See {@link ForwardingPort}. */
  async forward(request: ForwardedRequest, res: ServerResponse): Promise<UnownedSession | undefined> {
    const { sessionId, forwarded, principal } = request;
    const forwarding: Forwarding = { request, res, doubt: undefined };
    const { migration, mayUseRecord } = this.#init;
    // The owner checks the principal of a forwarded request itself. In all other cases, this node checks it by the record.
    const isForCaller = (record: StoredRecord): boolean => mayUseRecord(record, sessionId, principal);
    const isWanted = migration === undefined && request.method !== 'DELETE' ? undefined : isForCaller;
    const end = await this.#withOwner(sessionId, isWanted, async (owner, remaining, asked) => {
      if (forwarded) throw new NotOwner();
      const tried = await (migration?.move(owner, request, res) ?? this.#sendTo(owner, forwarding, remaining, asked));
      return res.destroyed ? 'done' : tried;
    }).catch((error: unknown) => {
      // A node may have begun the request before this try failed.
      if (forwarding.doubt !== undefined && error instanceof Refusal) return 'done' as const;
      throw this.#countUnreachable(error);
    });
    // A dead node may have begun the request, so no other node may run it.
    if (forwarding.doubt !== undefined) return this.#replyUnknown(forwarding);
    if (end === 'done') return undefined;
    if (request.method === 'DELETE') {
      if (!isEnded(end)) return end.unowned;
      await replyEmpty(res, 200);
      return undefined;
    }
    const { record } = end.unowned;
    if (record === undefined || sessionId === undefined || !this.#backOff.isOn(sessionId)) return end.unowned;
    // Another principal's session is treated exactly like a missing one.
    if (!isForCaller(record)) return end.unowned;
    return this.#forwardToClaimant(sessionId, record, forwarding);
  }

  /** See {@link ForwardingPort.list}. */
  async list(): Promise<SessionInfo[]> {
    const answers = await this.#init.port.broadcast('list', {});
    return answers.flatMap(({ node, result }) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value.map((session) => completed(session, node.id, this.#init.clock));
    });
  }

  /** See {@link ForwardingPort}. */
  async close(sessionId: string): Promise<UnownedSession | boolean> {
    const { migration } = this.#init;
    let closed = false;
    const end = await this.#withOwner(sessionId, ANY_NODE, async (owner, remaining, asked) => {
      if (migration !== undefined) return migration.end(owner, sessionId);
      const { sent } = this.#init.port.request(owner, 'close', { sessionId }, undefined, { time: remaining });
      const result = await sent;
      if (result.outcome !== 'answered') return this.#unanswered(sessionId, result);
      closed = await readAnswer<'close'>(result.response);
      return closed || !asked ? 'done' : 'again';
    }).catch((error: unknown) => {
      throw this.#countUnreachable(error);
    });
    if (end === 'done') return closed;
    return isEnded(end) || end.unowned;
  }

  /** @throws NotOwner when another node owns the session. */
  async unowned(sessionId: string): Promise<UnownedSession> {
    const end = await this.#withOwner<never>(sessionId, ANY_NODE, () => Promise.reject(new NotOwner()));
    return end.unowned;
  }

  /**
   * Calls `act` with the node that owns the session, until it resolves to `done` or no other node owns the session.
   *
   * @param isWanted - Whether the caller may use the session of this record. If not, the session counts as missing. Without
   * this check, the last known owner is asked first, and its record is not read.
   */
  async #withOwner<Done extends 'done'>(
    sessionId: string | undefined,
    isWanted: IsWanted | undefined,
    act: (owner: Lease, remaining: number, asked: boolean) => Promise<Done | 'again' | 'unreachable'>,
  ): Promise<Done | NoOwner> {
    const { clock, claimTimeout, peers } = this.#init;
    const deadline = clock.now() + claimTimeout;
    let asked = false;
    for (let wait: number = WAITS[0]; ; wait = Math.min(wait * 2, WAITS[1])) {
      const owner = await this.#ownerOf(sessionId, isWanted);
      if (this.#init.lifecycle.phase === 'closed') throw new Refusal('draining');
      const node = typeof owner === 'string' ? undefined : owner;
      if (node !== undefined && 'record' in node) return { unowned: node, asked };
      const tried = node && (await act(node, Math.max(LAST_TRY, deadline - clock.now()), asked));
      if (tried !== undefined && tried !== 'again' && tried !== 'unreachable') return tried;
      if (node !== undefined) asked = true;
      const remaining = deadline - clock.now();
      if (remaining <= 0) throw new Refusal('ownerUnreachable');
      const time = Math.min(remaining, wait);
      if (node !== undefined && tried === 'unreachable') await peers.untilGone(node, time);
      else await new Promise<void>((resolve) => clock.setTimeout(resolve, time));
    }
  }

  async #ownerOf(sessionId: string | undefined, isWanted?: IsWanted): Promise<Owner> {
    const { node, peers, owners, records, isMoving } = this.#init;
    if (sessionId === undefined) return this.#claimantOf({ record: undefined });
    const cached = isWanted === undefined ? owners.get(sessionId) : undefined;
    const known = cached === undefined || peers.isOver(cached) ? undefined : await this.#live(cached);
    if (known !== undefined && known !== 'missing') return known;
    const record = await records.find(sessionId);
    if (record === undefined || isWanted?.(record) === false) return { record: undefined };
    if (nodeOf(record.owner) === node.membership.id) {
      return this.#init.lifecycle.isDraining || isMoving(sessionId) ? 'moving' : { record };
    }
    const owner = await this.#live(nodeOf(record.owner));
    // The owner may have written the record since it was read, until its end. So a claim reads it once more (`Restorer`).
    if (owner === undefined) return this.#claimantOf({ record });
    if (owner !== 'missing') owners.set(sessionId, owner.id);
    return owner;
  }

  /** The node that may claim an unowned session: this one, unless it is draining and there is another. */
  async #claimantOf(unowned: UnownedSession): Promise<Owner> {
    if (!this.#init.lifecycle.isDraining) return unowned;
    const others = await this.#claimants();
    return others[Math.floor(Math.random() * others.length)] ?? unowned;
  }

  /**
   * Asks the other nodes in turn to claim a session that this node recently failed to restore.
   *
   * @throws Refusal `restoreFailed` when no other node can claim it.
   * @throws NotOwner when another node forwarded the request to this one.
   */
  async #forwardToClaimant(sessionId: string, record: StoredRecord, forwarding: Forwarding): Promise<undefined> {
    const { node, records, events, claimTimeout } = this.#init;
    const { request, res } = forwarding;
    // If an earlier release failed, the record still names this node.
    if (nodeOf(record.owner) === node.membership.id) await records.release(sessionId, record);
    if (request.forwarded) throw new NotOwner();
    const others = await this.#claimants();
    const from = Math.floor(Math.random() * others.length);
    for (const other of [...others.slice(from), ...others.slice(0, from)]) {
      const tried = await this.#sendTo(other, forwarding, claimTimeout, false);
      if (forwarding.doubt !== undefined) return this.#replyUnknown(forwarding);
      if (tried === 'done' || res.destroyed) return undefined;
    }
    events.emit('rejected', 'restoreFailed', { sessionId, principal: request.principal });
    throw new Refusal('restoreFailed');
  }

  /** The other nodes that may claim sessions. */
  async #claimants(): Promise<Lease[]> {
    return (await this.#init.others()).filter(({ leaving }) => !leaving);
  }

  #live(id: string | undefined): Promise<Lease | 'missing' | undefined> {
    const { node, peers } = this.#init;
    if (id === undefined || id === node.membership.id) return Promise.resolve(undefined);
    return orStoreUnavailable(peers.find(id));
  }

  async #sendTo(owner: Lease, forwarding: Forwarding, remaining: number, asked: boolean): Promise<Tried> {
    const { port, relay, events } = this.#init;
    const { request, res, doubt } = forwarding;
    // Only the node of the first try knows whether it began the request. A node of an earlier version cannot tell.
    if (doubt !== undefined && (doubt.node !== owner.id || owner.receives102 === undefined)) return 'done';
    const { method, sessionId } = request;
    const sending = sendRequest(port, owner, request, res, { time: remaining, repeats: doubt?.id });
    const sent = await sending.sent;
    // The client has disconnected, so the answer is of no use.
    if (res.destroyed) return 'done';
    if (sent.outcome === 'unknown' && method === 'POST') {
      // `initialize` may be sent again, to any node. A second session is harmless: it ends, as no client knows its ID.
      if (sessionId !== undefined || !sent.mayAsk) forwarding.doubt ??= { node: owner.id, id: sending.id };
      if (!sent.mayAsk) return 'done';
    }
    if (sent.outcome === 'untaken' || sent.outcome === 'unknown' || (sent.outcome === 'lost' && method !== 'POST')) {
      // `notHere` proves that the node began none of these messages. It refuses earlier ones that arrive late.
      if (sent.outcome === 'untaken' && sent.why === 'notHere') forwarding.doubt = undefined;
      return this.#unanswered(sessionId, sent);
    }
    forwarding.doubt = undefined;
    if (method === 'DELETE' && asked && sent.outcome === 'answered' && sent.response.statusCode === 404) {
      // An earlier try may have ended the session. The record is then gone.
      sent.response.resume();
      return 'again';
    }
    events.emit('forwarded', sent.outcome);
    if (sent.outcome === 'lost') answerOutcomeUnknown(res, request);
    else {
      const relayed = relay.relay(sent.response, res, method === 'GET', () => outcomeUnknownEvents(request));
      if (method !== 'GET') await relayed;
    }
    return 'done';
  }

  /** The outcome is unknown. The client of a request gets that error; a notification or response gets 503 and may be resent. */
  #replyUnknown({ request, res }: Forwarding): undefined {
    if (res.destroyed) return undefined;
    if (requestIdsOf(request).length === 0) throw this.#countUnreachable(new Refusal('ownerUnreachable'));
    this.#init.events.emit('forwarded', 'lost');
    answerOutcomeUnknown(res, request);
    return undefined;
  }

  /** Counts a request whose owner could not be reached. Returns the error. */
  #countUnreachable<E>(error: E): E {
    const { events } = this.#init;
    if (error instanceof Refusal && error.reason === 'ownerUnreachable') events.emit('forwarded', 'unreachable');
    return error;
  }

  /** Handles a request without an answer: removes the owner from the cache. Returns whether another try may follow. */
  #unanswered(sessionId: string | undefined, sent: Exclude<Sent, { outcome: 'answered' }>): Tried {
    if (sessionId !== undefined) this.#init.owners.delete(sessionId);
    if (sent.outcome !== 'untaken') return 'again';
    if (sent.why === 'tooLarge') throw new Refusal('bodyTooLarge');
    if (sent.why === 'unsigned') throw new Refusal('ownerUnreachable', { cause: new Error(UNSIGNED) });
    return sent.why === 'unreachable' ? 'unreachable' : 'again';
  }
}

/** Sends a client's request to another node. Aborts it when the client disconnects. */
export function sendRequest(
  port: Pick<NodePort, 'request'>,
  node: Lease,
  request: ForwardedRequest,
  res: ServerResponse,
  options: RequestOptions,
): Sending {
  const { post, method, path, headers, protocol, principal, auth, sessionId, hop } = request;
  const forwarded = { method, path, headers, protocol, principal, auth, sessionId, hop };
  const sending = port.request(node, 'request', forwarded, post && bodyOf(post), options);
  const disconnected = (): void => sending.abort();
  res.once('close', disconnected);
  // If the client disconnected during the lookup, `close` has already fired: abort now.
  if (res.destroyed) disconnected();
  void sending.closed.then(() => res.off('close', disconnected));
  return sending;
}

/** Adds the fields that a node of an earlier version does not send. */
function completed(session: SessionInfo, node: string, clock: Clock): SessionInfo {
  const openedAt = Math.round(wallTime(clock) - session.ageMs);
  const unknown: Partial<SessionInfo> = { streams: { standalone: 0, request: 0 }, openedAt };
  return { ...unknown, ...session, node };
}
