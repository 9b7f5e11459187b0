import type { Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../clock.js';
import { Due } from '../due-queue.js';
import type { OrphanCause, SessionInfo, SessionState } from '../events.js';
import type { McpServerLike } from '../options.js';
import type { TransportOwner } from '../transport/context.js';
import type { HttpTransport } from '../transport/transport.js';
import type { EndSignal, FactoryContext } from './context.js';

/** Where a session lives: told when it gets its first lease, when it loses its last, and when its server ends it. */
export interface SessionHome {
  readonly clock: Clock;
  attached(session: Session): void;
  detached(session: Session): void;
  closedByServer(session: Session): void;
}

/** One client's session: its state and its leases. What happens to it is decided by its home. */
export class Session implements TransportOwner {
  readonly id: string;
  readonly principal: string | undefined;
  readonly ending: EndSignal;
  readonly clientInfo: Implementation | undefined;
  /** When it was opened, by the router's clock. */
  openedAt: number;
  state: SessionState = 'initializing';
  orphanCause: OrphanCause | undefined;
  /** When its last lease went, by the router's clock. */
  idleSince: number;
  /** Past `maxLifetime`: what runs may finish, nothing new may begin. */
  retiring = false;
  /** The lock: what concurrent requests await while it is being opened. */
  opening: Promise<unknown> | undefined;
  /** Gives up opening it; undefined once it is open. */
  abandon: ((reason: Error) => void) | undefined;
  server: McpServerLike | undefined;
  /** Its turn to be orphaned, or to expire. */
  readonly idleDue = new Due<Session>(this);
  /** The end of its `maxLifetime`. */
  lifetimeDue: Due<Session> | undefined;
  readonly #home: SessionHome;
  #transport: HttpTransport | undefined;
  #leases = 0;
  #streamLost = false;

  constructor(id: string, context: FactoryContext, home: SessionHome) {
    this.id = id;
    this.principal = context.principal;
    this.clientInfo = context.clientInfo;
    this.ending = context.ending;
    this.#home = home;
    this.openedAt = home.clock.now();
    this.idleSince = this.openedAt;
  }

  /** Set once, by the one who opens the session. */
  set transport(transport: HttpTransport) {
    this.#transport = transport;
  }

  get transport(): HttpTransport {
    if (this.#transport === undefined) throw new Error('The session has no transport yet');
    return this.#transport;
  }

  get attached(): boolean {
    return this.#leases > 0;
  }

  /** Why it would count as orphaned if it were now. */
  get causeIfOrphaned(): OrphanCause {
    return this.#streamLost ? 'stream_lost' : 'idle';
  }

  hold(): void {
    this.#leases += 1;
    if (this.#leases === 1) this.#home.attached(this);
  }

  release(): void {
    this.#leases -= 1;
    if (this.#leases > 0) return;
    this.idleSince = this.#home.clock.now();
    this.#home.detached(this);
  }

  streamOpened(): void {
    this.#streamLost = false;
  }

  streamLost(): void {
    this.#streamLost = true;
  }

  transportClosed(): void {
    this.#home.closedByServer(this);
  }

  info(): SessionInfo {
    const now = this.#home.clock.now();
    return {
      id: this.id,
      principal: this.principal,
      state: this.state,
      orphanCause: this.orphanCause,
      protocolVersion: this.#transport?.protocolVersion,
      clientInfo: this.clientInfo && { name: this.clientInfo.name, version: this.clientInfo.version },
      ageMs: now - this.openedAt,
      idleMs: this.attached ? 0 : now - this.idleSince,
      requests: this.#transport?.unsettled ?? 0,
    };
  }
}
