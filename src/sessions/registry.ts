import type { Clock } from '../clock.js';
import { Refusal } from '../errors.js';
import type { CloseReason, CoreEvents, Events } from '../events.js';
import type { ResolvedOptions } from '../options.js';
import type { ServerBuilder } from './build.js';
import type { FactoryContext } from './context.js';
import { Reaper, type ReaperActions } from './reaper.js';
import { Session, type SessionHome } from './session.js';

/** How many sessions there are, by state; each is in exactly one. */
export interface SessionStats {
  readonly initializing: number;
  readonly active: number;
  readonly orphaned: number;
}

type Limits = Pick<
  ResolvedOptions,
  'ttl' | 'orphanAfter' | 'orphanTtl' | 'maxLifetime' | 'maxSessions' | 'maxSessionsPerPrincipal' | 'clock'
>;

/**
 * All sessions of a router, and the only place where a session changes its state:
 * `initializing → active ⇄ orphaned → closing → closed`.
 */
export class Registry implements SessionHome, ReaperActions {
  readonly clock: Clock;
  readonly #limits: Limits;
  readonly #events: Events<CoreEvents>;
  readonly #builder: ServerBuilder;
  readonly #reaper: Reaper;
  readonly #sessions = new Map<string, Session>();
  readonly #byPrincipal = new Map<string, Set<Session>>();
  /** Sessions that are closing: their servers have not let go of them, or their opening is not undone yet. */
  readonly #closing = new Set<Promise<void>>();
  readonly #whenIdle: (() => void)[] = [];
  #initializing = 0;
  #orphaned = 0;
  #attached = 0;

  constructor(limits: Limits, events: Events<CoreEvents>, builder: ServerBuilder) {
    this.clock = limits.clock;
    this.#limits = limits;
    this.#events = events;
    this.#builder = builder;
    this.#reaper = new Reaper(limits.clock, limits, this);
  }

  /** Whether a new session could only be had by evicting one, and none can be evicted. */
  get full(): boolean {
    return this.#sessions.size >= this.#limits.maxSessions && this.#reaper.longestOrphaned() === undefined;
  }

  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): Session[] {
    return [...this.#sessions.values()];
  }

  ofPrincipal(principal: string): Session[] {
    return [...(this.#byPrincipal.get(principal) ?? [])];
  }

  stats(): SessionStats {
    const initializing = this.#initializing;
    const orphaned = this.#orphaned;
    return { initializing, active: this.#sessions.size - initializing - orphaned, orphaned };
  }

  /**
   * Makes the entry of a session that is about to be opened; from here on it counts against the caps.
   *
   * @throws Refusal `atCapacity`, `principalAtCapacity`: a cap is reached and nobody is orphaned.
   * @throws TypeError when the ID generator gave an ID that is taken, or that the protocol does not allow.
   */
  admit(context: FactoryContext): Session {
    const id = context.sessionId;
    // Spec 2025-11-25, basic/transports, "Session Management": visible ASCII only.
    if (typeof id !== 'string' || !/^[\x21-\x7e]+$/.test(id)) {
      throw new TypeError('sessionIdGenerator must return a non-empty string of visible ASCII');
    }
    if (this.#sessions.has(id)) throw new TypeError('sessionIdGenerator returned the ID of a session that is open');
    this.#makeRoom(context.principal);
    const session = new Session(id, context, this);
    this.#sessions.set(id, session);
    this.#initializing += 1;
    if (session.principal !== undefined) {
      const own = this.#byPrincipal.get(session.principal) ?? new Set();
      this.#byPrincipal.set(session.principal, own.add(session));
    }
    return session;
  }

  /** The session answered its `initialize`. */
  activate(session: Session): void {
    this.#initializing -= 1;
    session.state = 'active';
    session.opening = undefined;
    session.abandon = undefined;
    session.openedAt = this.clock.now();
    session.idleSince = session.openedAt;
    this.#reaper.opened(session);
    if (!session.attached) this.#reaper.detached(session);
    // Last, as a listener may close it at once.
    this.#events.emit('opened', session.info());
  }

  /** Undoes {@link admit} for a session that could not be opened; nobody is told of a session that never was. */
  discard(session: Session): void {
    if (session.state !== 'initializing') return;
    this.#initializing -= 1;
    session.state = 'closed';
    this.#remove(session);
  }

  /**
   * Ends a session: every reply ends, every handler's signal aborts, its server is closed. All but the server's own clean-up
   * is done when this returns; the promise is for that. One that is being opened is given up.
   */
  close(session: Session, reason: CloseReason): Promise<void> {
    if (session.state === 'initializing') return this.#track(this.#giveUp(session, reason));
    if (session.state !== 'active' && session.state !== 'orphaned') return Promise.resolve();
    const before = session.info();
    if (session.state === 'orphaned') this.#orphaned -= 1;
    session.state = 'closing';
    this.#remove(session);
    void session.transport.close();
    session.ending.end();
    this.#events.emit('closed', before, reason);
    return this.#track(this.#closeServer(session));
  }

  /** Resolves when every session that was closed has been let go of by its server, and every open given up is undone. */
  async settled(): Promise<void> {
    await Promise.all(this.#closing);
  }

  /** Resolves once no session is attached. */
  idle(): Promise<void> {
    if (this.#attached === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  attached(session: Session): void {
    this.#attached += 1;
    this.#reaper.attached(session);
    if (session.state !== 'orphaned') return;
    const before = session.info();
    this.#orphaned -= 1;
    session.state = 'active';
    session.orphanCause = undefined;
    this.#events.emit('revived', before);
  }

  detached(session: Session): void {
    this.#attached -= 1;
    if (this.#attached === 0) this.#whenIdle.splice(0).forEach((resolve) => resolve());
    if (session.state !== 'active') return;
    if (session.retiring) void this.close(session, 'lifetime');
    else this.#reaper.detached(session);
  }

  closedByServer(session: Session): void {
    session.abandon?.(new Error('The server closed its transport while the session was being opened'));
    void this.close(session, 'deleted');
  }

  orphan(session: Session): void {
    const cause = session.causeIfOrphaned;
    session.state = 'orphaned';
    session.orphanCause = cause;
    this.#orphaned += 1;
    this.#reaper.orphaned(session, cause);
    this.#events.emit('orphaned', session.info(), cause);
  }

  expire(session: Session): void {
    void this.close(session, 'expired');
  }

  retire(session: Session): void {
    session.retiring = true;
    session.transport.stopStandalone('sessionNotFound');
    if (!session.attached) void this.close(session, 'lifetime');
  }

  #makeRoom(principal: string | undefined): void {
    const { maxSessions, maxSessionsPerPrincipal } = this.#limits;
    const own = principal === undefined ? undefined : this.#byPrincipal.get(principal);
    if (own !== undefined && maxSessionsPerPrincipal !== undefined && own.size >= maxSessionsPerPrincipal) {
      this.#evict(longestOrphaned(own), 'principalAtCapacity');
    }
    if (this.#sessions.size >= maxSessions) this.#evict(this.#reaper.longestOrphaned(), 'atCapacity');
  }

  #evict(session: Session | undefined, otherwise: 'atCapacity' | 'principalAtCapacity'): void {
    if (session === undefined) throw new Refusal(otherwise);
    void this.close(session, 'evicted');
  }

  #remove(session: Session): void {
    this.#reaper.removed(session);
    this.#sessions.delete(session.id);
    if (session.principal === undefined) return;
    const own = this.#byPrincipal.get(session.principal);
    own?.delete(session);
    if (own?.size === 0) this.#byPrincipal.delete(session.principal);
  }

  async #giveUp(session: Session, reason: CloseReason): Promise<void> {
    session.abandon?.(new Refusal(reason === 'shutdown' ? 'draining' : 'sessionNotFound'));
    await session.opening?.catch(() => undefined);
    // Given up too late, it is open now.
    await this.close(session, reason);
  }

  #track(closing: Promise<void>): Promise<void> {
    this.#closing.add(closing);
    return closing.finally(() => this.#closing.delete(closing));
  }

  async #closeServer(session: Session): Promise<void> {
    if (session.server !== undefined) await this.#builder.close(session.server);
    session.state = 'closed';
  }
}

function longestOrphaned(sessions: Iterable<Session>): Session | undefined {
  let longest: Session | undefined;
  for (const session of sessions) {
    if (session.state !== 'orphaned') continue;
    if (longest === undefined || session.idleSince < longest.idleSince) longest = session;
  }
  return longest;
}
