import type { Clock } from '../../runtime/clock.js';
import { DeadlineQueue } from '../../runtime/deadline-queue.js';
import { ORPHAN_CAUSES, type OrphanCause } from '../../events.js';
import type { ResolvedOptions } from '../../options/options.js';
import type { Session } from '../session.js';

/** The options that set the delays of the reaper. */
export type Delays = Pick<ResolvedOptions, 'orphanAfter' | 'hibernateAfter' | 'ttl' | 'orphanTtl' | 'maxLifetime'>;

/** Called by the reaper when a session is due. */
export interface ReaperActions {
  orphan(session: Session): void;
  hibernate(session: Session): void;
  expire(session: Session): void;
  retire(session: Session): void;
}

/** The queues of the orphaned sessions of one cause. */
interface Orphans {
  /** Sessions due to hibernate. Undefined when sessions never hibernate. */
  readonly awake: DeadlineQueue<Session> | undefined;
  /** Sessions due to expire. */
  readonly rest: DeadlineQueue<Session>;
}

/**
 * Keeps the unattached sessions in the order in which they became unattached. Calls an action when a session is due to be
 * orphaned, to hibernate or to expire. Each queue has one delay and so one timer. Its cost grows with the number of sessions
 * that are due, not with the number of open sessions.
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
    const hibernatesAfter = hibernateAfter === undefined ? Infinity : orphanAfter + hibernateAfter;
    const orphans = (expiresAfter: number): Orphans => ({
      awake:
        hibernatesAfter < expiresAfter
          ? new DeadlineQueue(clock, hibernatesAfter, (session) => actions.hibernate(session))
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

  /** Called when the session hibernates, or cannot hibernate: its next deadline is to expire. */
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
