import { transition, type Transitions } from './transitions.js';

/**
 * How far a router has stopped:
 * - `running`: it takes new sessions.
 * - `draining`: it takes no new session. Requests that have begun may finish.
 * - `closing`: it ends every session and every request.
 * - `closed`: nothing is left of them. The node of a cluster leaves its cluster in this phase.
 */
export type Phase = 'running' | 'draining' | 'closing' | 'closed';

/** A close needs no drain before it. */
export const PHASES: Transitions<Phase> = {
  running: ['draining', 'closing'],
  draining: ['closing'],
  closing: ['closed'],
  closed: [],
};

/** The phase of a router, as all its parts read it. Only the code that drains and closes the router moves it. */
export interface Lifecycle {
  readonly phase: Phase;
  /** True in every phase but `running`. */
  readonly isDraining: boolean;
  /** True in `closing` and `closed`. */
  readonly isClosing: boolean;
}

export class LifecyclePhase implements Lifecycle {
  #phase: Phase = 'running';

  get phase(): Phase {
    return this.#phase;
  }

  get isDraining(): boolean {
    return this.#phase !== 'running';
  }

  get isClosing(): boolean {
    return this.#phase === 'closing' || this.#phase === 'closed';
  }

  /** @throws IllegalTransition when {@link PHASES} lacks the transition. */
  moveTo(phase: Phase): void {
    this.#phase = transition(PHASES, this.#phase, phase);
  }
}
