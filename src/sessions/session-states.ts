import type { SessionState, SessionStats } from '../events.js';
import { transition, type Transitions } from '../runtime/transitions.js';

/**
 * The life of a session:
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

  /** Returns the first state of a new session. */
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

  stats(): SessionStats {
    const { initializing, active, orphaned, hibernated } = this.#counts;
    return { initializing, active, orphaned, hibernated };
  }
}
