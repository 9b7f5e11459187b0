/** The states that may follow each state. */
export type Transitions<State extends string> = Readonly<Record<State, readonly State[]>>;

/** A transition that its table lacks: a defect of the router, never caused by a client or by an option. */
export class IllegalTransition extends Error {
  override readonly name = 'IllegalTransition';

  constructor(from: string, to: string) {
    super(`no transition leads from ${from} to ${to}`);
  }
}

/**
 * Returns the new state.
 *
 * @throws IllegalTransition when the table lacks the transition.
 */
export function transition<State extends string>(table: Transitions<State>, from: State, to: State): State {
  if (!table[from].includes(to)) throw new IllegalTransition(from, to);
  return to;
}
