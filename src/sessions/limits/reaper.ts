import type { Clock } from '../../runtime/clock.js';
import { DeadlineQueue } from '../../runtime/deadline-queue.js';
import { ORPHAN_CAUSES, type OrphanCause } from '../../events.js';
import type { ResolvedOptions } from '../../options/options.js';
import type { Session } from '../session.js';

/** What the reaper waits for. */
export type Delays = Pick<ResolvedOptions, 'orphanAfter' | 'hibernateAfter' | 'ttl' | 'orphanTtl' | 'maxLifetime'>;

/** What the reaper asks for when a session's time has come. */
export interface ReaperActions {
  orphan(session: Session): void;
  hibernate(session: Session): void;
  expire(session: Session): void;
  retire(session: Session): void;
}

/** Where sessions of one cause wait. */
interface Orphans {
  /** To hibernate; undefined where they never do. */
  readonly awake: DeadlineQueue<Session> | undefined;
  /** To expire. */
  readonly rest: DeadlineQueue<Session>;
}

/**
 * Keeps the unattached sessions in the order in which they became so, and says when each is orphaned, when it hibernates and
 * when it has expired. Each queue has one delay and so one timer; its cost follows the number that are due, not the number
 * that are open.
 */
export class Reaper {
  readonly #unattached: DeadlineQueue<Session>;
  readonly #orphans: Readonly<Record<OrphanCause, Orphans>>;
  readonly #lifetimes: DeadlineQueue<Session> | undefined;

  constructor(
    clock: Clock,
    { orphanAfter, hibernateAfter, ttl, orphanTtl, maxLifetime }: Delays,
    actions: ReaperActions,
  ) {
    const asleepAfter = hibernateAfter === undefined ? Infinity : orphanAfter + hibernateAfter;
    const orphans = (expiresAfter: number): Orphans => ({
      awake:
        asleepAfter < expiresAfter
          ? new DeadlineQueue(clock, asleepAfter, (session) => actions.hibernate(session))
          : undefined,
      rest: new DeadlineQueue(clock, expiresAfter, (session) => actions.expire(session)),
    });
    this.#orphans = { idle: orphans(ttl), stream_lost: orphans(orphanTtl) };
    this.#unattached = new DeadlineQueue(clock, orphanAfter, (session) => actions.orphan(session));
    this.#lifetimes =
      maxLifetime === undefined
        ? undefined
        : new DeadlineQueue(clock, maxLifetime, (session) => actions.retire(session));
  }

  opened(session: Session): void {
    if (this.#lifetimes === undefined) return;
    this.#lifetimes.add(session.startLifetime(), session.openedAt);
  }

  detached(session: Session): void {
    this.#unattached.add(session.idleDue, session.idleSince);
  }

  orphaned(session: Session, cause: OrphanCause): void {
    const { awake, rest } = this.#orphans[cause];
    (awake ?? rest).add(session.idleDue, session.idleSince);
  }

  /** It hibernates, or will not: from now on it can only expire. */
  resting(session: Session, cause: OrphanCause): void {
    this.#orphans[cause].rest.add(session.idleDue, session.idleSince);
  }

  removed(session: Session): void {
    session.idleDue.cancel();
    session.lifetimeDue?.cancel();
  }

  /** The session that has been orphaned for longest, hibernated ones included. */
  longestOrphaned(): Session | undefined {
    let longest: Session | undefined;
    for (const cause of ORPHAN_CAUSES) {
      const { awake, rest } = this.#orphans[cause];
      for (const oldest of [rest.oldest(), awake?.oldest()]) {
        if (oldest !== undefined && (longest === undefined || oldest.idleSince < longest.idleSince)) longest = oldest;
      }
    }
    return longest;
  }
}
