import type { Clock } from '../clock.js';
import { Due, DueQueue } from '../due-queue.js';
import type { OrphanCause } from '../events.js';
import type { ResolvedOptions } from '../options.js';
import type { Session } from './session.js';

/** What the reaper asks for when a session's time has come. */
export interface ReaperActions {
  orphan(session: Session): void;
  expire(session: Session): void;
  retire(session: Session): void;
}

/**
 * Keeps the unattached sessions in the order in which they became so, and says when each is orphaned and when expired.
 * Each queue has one delay and so one timer; its cost follows the number that are due, not the number that are open.
 */
export class Reaper {
  readonly #unattached: DueQueue<Session>;
  readonly #orphaned: Readonly<Record<OrphanCause, DueQueue<Session>>>;
  readonly #lifetimes: DueQueue<Session> | undefined;

  constructor(
    clock: Clock,
    {
      orphanAfter,
      ttl,
      orphanTtl,
      maxLifetime,
    }: Pick<ResolvedOptions, 'orphanAfter' | 'ttl' | 'orphanTtl' | 'maxLifetime'>,
    actions: ReaperActions,
  ) {
    const expire = (session: Session): void => actions.expire(session);
    this.#orphaned = {
      idle: new DueQueue(clock, ttl, expire),
      stream_lost: new DueQueue(clock, orphanTtl, expire),
    };
    this.#unattached = new DueQueue(clock, orphanAfter, (session) => actions.orphan(session));
    this.#lifetimes =
      maxLifetime === undefined ? undefined : new DueQueue(clock, maxLifetime, (session) => actions.retire(session));
  }

  opened(session: Session): void {
    if (this.#lifetimes === undefined) return;
    session.lifetimeDue = new Due(session);
    this.#lifetimes.add(session.lifetimeDue, session.openedAt);
  }

  detached(session: Session): void {
    this.#unattached.add(session.idleDue, session.idleSince);
  }

  orphaned(session: Session, cause: OrphanCause): void {
    this.#orphaned[cause].add(session.idleDue, session.idleSince);
  }

  attached(session: Session): void {
    session.idleDue.cancel();
  }

  removed(session: Session): void {
    this.attached(session);
    session.lifetimeDue?.cancel();
  }

  longestOrphaned(): Session | undefined {
    const idle = this.#orphaned.idle.oldest();
    const lost = this.#orphaned.stream_lost.oldest();
    if (idle === undefined || lost === undefined) return idle ?? lost;
    return idle.idleSince <= lost.idleSince ? idle : lost;
  }
}
