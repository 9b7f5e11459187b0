import { transition, type Transitions } from './transitions.js';

/**
 * The phase of a router:
 * - `running`: it accepts new sessions.
 * - `draining`: it accepts no new session. Requests that have begun may finish.
 * - `closing`: it ends every session and every request.
 * - `closed`: all sessions and requests have ended. The node of a cluster leaves its cluster in this phase.
 */
export type Phase = 'running' | 'draining' | 'closing' | 'closed';

/** The allowed transitions. A router may close without a drain. */
export const PHASES: Transitions<Phase> = {
  running: ['draining', 'closing'],
  draining: ['closing'],
  closing: ['closed'],
  closed: [],
};

/** The phase of a router, for all its parts. Only the code that drains and closes the router changes it. */
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
