import type { CloseReason, OrphanCause, Outcome, SessionInfo } from '../../src/events.js';
import type { ErrorName } from '../../src/errors.js';
import {
  attached,
  count,
  orphan,
  type ModelCall,
  type ModelRecord,
  type ModelSession,
  type Settings,
} from './model-parts.js';

/** Something that will come to pass by the clock alone. */
interface Deadline {
  readonly at: number;
  readonly happen: () => void;
}

/**
 * docs/sessions.md without HTTP, promises and timers: what the states, leases and counts of a router must be after what its
 * clients, its app and the clock have done. Exchanges are numbers; those that must have ended are collected for the caller.
 */
export class Model {
  readonly sessions: ModelSession[] = [];
  /** What the store holds, by session ID. */
  readonly records = new Map<string, ModelRecord>();
  /** Sessions that have ended for good. */
  readonly gone: Pick<ModelSession, 'id' | 'user'>[] = [];
  readonly opened = { count: 0 };
  readonly restored = { count: 0 };
  readonly closed = new Map<CloseReason, number>();
  readonly rejected = new Map<ErrorName, number>();
  /** How the calls of the tool were settled. */
  readonly outcomes = new Map<Outcome, number>();
  /** Factories that still run after their session has gone. Each still takes a place. */
  readonly abandoned: { readonly id: string; readonly user: string | undefined }[] = [];
  readonly settings: Settings;
  draining = false;
  /** Drained or closed: nothing is left, and nothing will be. */
  over = false;
  now: number;
  #drainUntil: number | undefined;
  #ended: number[] = [];

  constructor(settings: Settings, now: number) {
    this.settings = settings;
    this.now = now;
  }

  /** Exchanges that have ended since this was last asked. */
  takeEnded(): number[] {
    return this.#ended.splice(0);
  }

  inState(...states: ModelSession['state'][]): ModelSession[] {
    return this.sessions.filter(({ state }) => states.includes(state));
  }

  calls(): ModelCall[] {
    return this.sessions.flatMap(({ calls }) => calls);
  }

  /** Records of sessions that are not here. */
  storedOnly(): ModelRecord[] {
    return [...this.records.values()].filter(({ id }) => !this.sessions.some((session) => session.id === id));
  }

  /** Whether a record is there still; undefined when it may be or not. */
  isKept({ usedAt, doubtful, openedAt }: ModelRecord): boolean | undefined {
    const { ttl, maxLifetime = Infinity } = this.settings;
    if (this.now >= openedAt + maxLifetime) return false;
    if (this.now >= usedAt + ttl * 1.25) return false;
    return this.now < usedAt + ttl && !doubtful ? true : undefined;
  }

  /** The process dies: only the records in the store remain. */
  crash(): void {
    for (const session of this.sessions) {
      if (session.state === 'initializing') this.records.delete(session.id);
      else this.#used(session);
      this.#endStream(session);
      if (session.state === 'initializing') this.#ended.push(session.opening);
      for (const call of session.calls) if (call.connected) this.#ended.push(call.exchange);
    }
    this.sessions.length = 0;
    this.abandoned.length = 0;
    this.opened.count = this.restored.count = 0;
    for (const counts of [this.closed, this.rejected, this.outcomes]) counts.clear();
  }

  /** What a request gets for a session that only is stored, and is kept: the session again, or a refusal. */
  restore(record: ModelRecord): ModelSession | ErrorName {
    const refusal = this.#makeRoom(record.user);
    if (refusal !== undefined) {
      count(this.rejected, refusal);
      return refusal;
    }
    const session = this.#add(record.id, record.user, -1);
    session.openedAt = record.openedAt;
    session.state = 'active';
    this.restored.count += 1;
    return session;
  }

  /** Its server could not be built: the record is kept. */
  unrestore(session: ModelSession): void {
    this.restored.count -= 1;
    count(this.rejected, 'restoreFailed');
    this.#remove(session);
  }

  refuse(reason: ErrorName): void {
    count(this.rejected, reason);
  }

  /** The store may not have heard of the last use of a session. */
  doubt({ id }: ModelSession): void {
    const record = this.records.get(id);
    if (record !== undefined) record.doubtful = true;
  }

  /** A request wakes a hibernated session, which then counts as attached. */
  wake(session: ModelSession): void {
    this.#attach(session);
    this.restored.count += 1;
  }

  /** A request came for a session that hibernates and could not be woken. */
  touchAsleep(session: ModelSession): void {
    session.idleSince = this.now;
    this.#closeIfDrained();
  }

  /** What an `initialize` gets at once: the entry of a session that is to be, or a refusal. */
  admit(id: string, user: string | undefined, exchange: number): ModelSession | ErrorName {
    const refusal = this.draining ? 'draining' : this.#makeRoom(user);
    if (refusal !== undefined) {
      count(this.rejected, refusal);
      return refusal;
    }
    return this.#add(id, user, exchange);
  }

  activate(session: ModelSession): void {
    session.state = 'active';
    session.openedAt = this.now;
    session.idleSince = this.now;
    this.opened.count += 1;
    if (this.settings.stored) {
      const { id, user } = session;
      this.records.set(id, { id, user, openedAt: this.now, usedAt: this.now, doubtful: false });
    }
    this.#ended.push(session.opening);
    this.#released(session);
  }

  /** Its opening failed. A client that hung up gets no answer, and so is not counted as rejected. */
  fail(session: ModelSession, rejected?: ErrorName): void {
    this.#remove(session);
    this.#ended.push(session.opening);
    const settled = rejected === 'internalError' || rejected === 'storeUnavailable';
    if (!settled) this.abandoned.push({ id: session.id, user: session.user });
    if (rejected !== undefined) count(this.rejected, rejected);
  }

  /** An exchange of the session's own principal that is over at once. */
  touch(session: ModelSession): void {
    this.#attach(session);
    this.#released(session);
  }

  call(session: ModelSession, key: string, exchange: number): void {
    this.#attach(session);
    const since = this.now;
    session.calls.push({ key, session, exchange, since, connected: true, streaming: false });
  }

  settle(call: ModelCall, outcome: Outcome): void {
    const { session } = call;
    count(this.outcomes, outcome);
    if (call.connected) this.#ended.push(call.exchange);
    session.calls = session.calls.filter((other) => other !== call);
    this.#released(session);
    this.#closeIfDrained();
  }

  /** The client of a call goes away; the call goes on (spec 2025-11-25, basic/transports, "Sending Messages"). */
  hangUpCall(call: ModelCall): void {
    call.connected = false;
    // What has not begun is no stream yet, and cannot be lost as one.
    call.session.streamLost ||= call.streaming;
  }

  stream(session: ModelSession, exchange: number): void {
    this.#attach(session);
    session.stream = exchange;
    session.streamLost = false;
  }

  hangUpStream(session: ModelSession): void {
    session.stream = undefined;
    session.streamLost = true;
    this.#released(session);
  }

  close(session: ModelSession, reason: CloseReason): void {
    this.closeTogether([session], reason);
  }

  /** A drain that waits for the calls of one of them ends only when all of them are closed. */
  closeTogether(sessions: readonly ModelSession[], reason: CloseReason): void {
    for (const session of sessions) this.#close(session, reason);
    this.#closeIfDrained();
  }

  #close(session: ModelSession, reason: CloseReason): void {
    if (session.state === 'initializing') {
      this.fail(session, reason === 'shutdown' ? 'draining' : undefined);
      return;
    }
    this.#endStream(session);
    for (const call of session.calls) {
      count(this.outcomes, 'closed');
      if (call.connected) this.#ended.push(call.exchange);
    }
    if (reason === 'shutdown') this.#used(session);
    else this.#forget(session);
    this.#remove(session);
    count(this.closed, reason);
  }

  drain(timeout: number): void {
    this.draining = true;
    this.#drainUntil ??= this.now + timeout;
    this.#closeIfDrained();
  }

  closeAll(): void {
    this.draining = true;
    this.over = true;
    for (const session of [...this.sessions]) this.close(session, 'shutdown');
  }

  /** The next moment, up to `end`, at which something happens by itself. */
  nextDeadline(end: number): number | undefined {
    const times = this.#deadlines().map(({ at }) => at);
    const next = Math.min(...times);
    return next <= end ? next : undefined;
  }

  /** Moves on to a moment, past no deadline. */
  moveTo(moment: number): void {
    this.now = moment;
    const due = this.#deadlines().filter(({ at }) => at <= moment);
    for (const { happen } of due) happen();
  }

  stats() {
    return {
      initializing: this.inState('initializing').length,
      active: this.inState('active').length,
      orphaned: this.inState('orphaned').length,
      hibernated: this.inState('hibernated').length,
    };
  }

  list(): Partial<SessionInfo>[] {
    return this.sessions.map((session) => ({
      id: session.id,
      principal: session.user,
      state: session.state,
      orphanCause: session.cause,
      ageMs: this.now - session.openedAt,
      idleMs: attached(session) ? 0 : this.now - session.idleSince,
      requests: session.calls.length,
    }));
  }

  /** The series that Prometheus must read, by name and label, without those that are 0. */
  metrics(): Record<string, number> {
    const orphaned = (cause: OrphanCause) =>
      this.inState('orphaned').filter((session) => session.cause === cause).length;
    const samples: [string, number][] = [
      ['mcp_sessions_active', this.inState('active').length],
      ['mcp_sessions_orphaned idle', orphaned('idle')],
      ['mcp_sessions_orphaned stream_lost', orphaned('stream_lost')],
      ['mcp_streams_open standalone', this.sessions.filter(({ stream }) => stream !== undefined).length],
      ['mcp_streams_open request', this.calls().filter((call) => call.connected && call.streaming).length],
      ['mcp_sessions_hibernated', this.inState('hibernated').length],
      ['mcp_sessions_opened_total', this.opened.count],
      ['mcp_sessions_restored_total', this.restored.count],
      ...[...this.closed].map(([reason, n]): [string, number] => [`mcp_sessions_closed_total ${reason}`, n]),
      ...[...this.rejected].map(([reason, n]): [string, number] => [`mcp_sessions_rejected_total ${reason}`, n]),
      ...[...this.outcomes].map(([outcome, n]): [string, number] => [`calls ${outcome}`, n]),
    ];
    return Object.fromEntries(samples.filter(([, value]) => value !== 0));
  }

  #deadlines(): Deadline[] {
    const { keepAlive, requestTimeout, enableJsonResponse } = this.settings;
    const deadlines = this.sessions.flatMap((session) => this.#deadlinesOf(session));
    for (const call of this.calls()) {
      deadlines.push({ at: call.since + requestTimeout, happen: () => this.settle(call, 'timeout') });
      if (call.connected && !call.streaming && !enableJsonResponse) {
        deadlines.push({ at: call.since + keepAlive, happen: () => (call.streaming = true) });
      }
    }
    if (this.#drainUntil !== undefined && !this.over) {
      deadlines.push({ at: this.#drainUntil, happen: () => this.closeAll() });
    }
    return deadlines;
  }

  #deadlinesOf(session: ModelSession): Deadline[] {
    const { ttl, orphanAfter, orphanTtl, openTimeout, maxLifetime, hibernateAfter } = this.settings;
    const { openedAt, idleSince, cause } = session;
    if (session.state === 'initializing') {
      return [{ at: openedAt + openTimeout, happen: () => this.fail(session, 'openTimeout') }];
    }
    const deadlines: Deadline[] = [];
    if (maxLifetime !== undefined && !session.retiring) {
      deadlines.push({ at: openedAt + maxLifetime, happen: () => this.#retire(session) });
    }
    if (session.state === 'orphaned' && hibernateAfter !== undefined) {
      const asleep = (): void => void (session.state = 'hibernated');
      deadlines.push({ at: idleSince + orphanAfter + hibernateAfter, happen: asleep });
    }
    if (cause !== undefined) {
      const life = cause === 'idle' ? ttl : orphanTtl;
      deadlines.push({ at: idleSince + life, happen: () => this.close(session, 'expired') });
    } else if (!attached(session)) {
      deadlines.push({ at: idleSince + orphanAfter, happen: () => orphan(session) });
    }
    return deadlines;
  }

  #makeRoom(user: string | undefined): ErrorName | undefined {
    const { maxSessions, maxSessionsPerPrincipal = Infinity, maxAnonymousSessions } = this.settings;
    const own = this.sessions.filter((session) => session.user === user);
    const ownBuilds = this.abandoned.filter((build) => build.user === user).length;
    const share = user === undefined ? maxAnonymousSessions : maxSessionsPerPrincipal;
    const full = user === undefined ? 'atCapacity' : 'principalAtCapacity';
    if (own.length + ownBuilds >= share && !this.#evictFrom(own)) return full;
    const evictable = user === undefined ? own : this.sessions;
    const taken = this.sessions.length + this.abandoned.length;
    if (taken >= maxSessions && !this.#evictFrom(evictable)) return 'atCapacity';
    return undefined;
  }

  #evictFrom(sessions: readonly ModelSession[]): boolean {
    const orphans = sessions.filter(({ state }) => state === 'orphaned' || state === 'hibernated');
    const [longest] = orphans.sort((a, b) => a.idleSince - b.idleSince);
    if (longest !== undefined) this.close(longest, 'evicted');
    return longest !== undefined;
  }

  #retire(session: ModelSession): void {
    session.retiring = true;
    this.#endStream(session);
    if (!attached(session)) this.close(session, 'lifetime');
  }

  #endStream(session: ModelSession): void {
    if (session.stream !== undefined) this.#ended.push(session.stream);
    session.stream = undefined;
  }

  #attach(session: ModelSession): void {
    session.state = 'active';
    session.cause = undefined;
    this.#used(session);
  }

  #add(id: string, user: string | undefined, exchange: number): ModelSession {
    const session: ModelSession = {
      id,
      user,
      opening: exchange,
      state: 'initializing',
      cause: undefined,
      openedAt: this.now,
      idleSince: this.now,
      retiring: false,
      streamLost: false,
      stream: undefined,
      calls: [],
    };
    this.sessions.push(session);
    return session;
  }

  #forget({ id, user }: ModelSession): void {
    this.records.delete(id);
    this.gone.push({ id, user });
  }

  /** Its record lives on from when it is last in use. */
  #used(session: ModelSession): void {
    const record = this.records.get(session.id);
    if (record !== undefined) record.usedAt = attached(session) ? this.now : session.idleSince;
  }

  /** One of its leases went: perhaps the last. */
  #released(session: ModelSession): void {
    if (attached(session)) return;
    session.idleSince = this.now;
    this.#used(session);
    if (session.retiring) this.close(session, 'lifetime');
    this.#closeIfDrained();
  }

  #closeIfDrained(): void {
    if (this.draining && !this.over && this.calls().length === 0) this.closeAll();
  }

  #remove(session: ModelSession): void {
    session.state = 'closed';
    session.cause = undefined;
    session.calls = [];
    this.sessions.splice(this.sessions.indexOf(session), 1);
  }
}
