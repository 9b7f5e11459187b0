import type { SessionState, SessionStats } from '../events.js';
import { transition, type Transitions } from '../runtime/transitions.js';

/**
 * The allowed transitions of a session's state:
 *
 * ```
 * initializing ──► active ◄──► orphaned ──► hibernated
 *      │             │ ▲           │          │  ▲ │
 *      │             │ └───────────┼──────────┘  │ │
 *      │             ├─────────────┼─────────────┘ │
 *      ▼             ▼             ▼               │
 *    closed ◄────────── closing ◄──────────────────┘
 * ```
 *
 * An active session hibernates when a principal adopts it: its server ends, and a new one is built from the record.
 */
export const SESSION_STATES: Transitions<SessionState> = {
  initializing: ['active', 'closed'],
  active: ['orphaned', 'hibernated', 'closing'],
  orphaned: ['active', 'hibernated', 'closing'],
  hibernated: ['active', 'closing'],
  closing: ['closed'],
  closed: [],
};

/**
 * The record of a session in the store, as far as this router knows:
 * - `none`: the store has no record of this session.
 * - `stored`: the store has the record, in the session's epoch.
 * - `missing`: a write found no record in this epoch. It was removed, or another node claimed the session.
 * - `lost`: another node owns the session.
 * - `removed`: this router removed the record for good. The session's events may be removed, too.
 */
export type RecordState = 'none' | 'stored' | 'missing' | 'lost' | 'removed';

/**
 * The allowed transitions of {@link RecordState}. A record that could not be created or restored goes from `stored` back to
 * `none`. A removal may succeed after that, or after a write that found the record missing, as both may run at the same time.
 */
export const RECORD_STATES: Transitions<RecordState> = {
  none: ['stored', 'lost', 'removed'],
  stored: ['none', 'missing', 'lost', 'removed'],
  missing: ['lost', 'removed'],
  lost: [],
  removed: [],
};

/** Moves the sessions of one router from state to state, and counts the sessions in each state. */
export class SessionStates {
  readonly #counts: Record<SessionState, number> = {
    initializing: 0,
    active: 0,
    orphaned: 0,
    hibernated: 0,
    closing: 0,
    closed: 0,
  };

  /** Counts a new session and returns its first state. */
  enter(): SessionState {
    this.#counts.initializing += 1;
    return 'initializing';
  }

  /**
   * Returns the new state of a session.
   *
   * @throws IllegalTransition when {@link SESSION_STATES} lacks the transition.
   */
  move(from: SessionState, to: SessionState): SessionState {
    const next = transition(SESSION_STATES, from, to);
    this.#counts[from] -= 1;
    this.#counts[to] += 1;
    return next;
  }

  /**
   * Returns the new state of a session's record.
   *
   * @throws IllegalTransition when {@link RECORD_STATES} lacks the transition.
   */
  moveRecord(from: RecordState, to: RecordState): RecordState {
    return transition(RECORD_STATES, from, to);
  }

  stats(): SessionStats {
    const { initializing, active, orphaned, hibernated } = this.#counts;
    return { initializing, active, orphaned, hibernated };
  }
}
