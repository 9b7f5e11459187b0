import type { SessionState } from '../../src/events.js';
import { IllegalTransition } from '../../src/runtime/transitions.js';
import { RECORD_STATES, SESSION_STATES, SessionStates, type RecordState } from '../../src/sessions/session-states.js';

/** Every pair of the states in a table. */
function pairsOf<S extends string>(table: Record<S, unknown>): [from: S, to: S][] {
  const states = Object.keys(table) as S[];
  return states.flatMap((from) => states.map((to): [S, S] => [from, to]));
}

/** Written down a second time, so that a change of a table is a change of its list. */
const SESSION_ALLOWED = [
  'initializing active',
  'initializing closed',
  'active orphaned',
  'active hibernated',
  'active closing',
  'orphaned active',
  'orphaned hibernated',
  'orphaned closing',
  'hibernated active',
  'hibernated closing',
  'closing closed',
];
const RECORD_ALLOWED = [
  'none stored',
  'none lost',
  'none removed',
  'stored none',
  'stored missing',
  'stored lost',
  'stored removed',
  'missing lost',
  'missing removed',
];

describe('the states of a session', () => {
  test.each(pairsOf<SessionState>(SESSION_STATES))(
    'a session goes from %s to %s only if the table has it',
    (from, to) => {
      const states = new SessionStates();
      if (SESSION_ALLOWED.includes(`${from} ${to}`)) expect(states.move(from, to)).toBe(to);
      else expect(() => states.move(from, to)).toThrow(IllegalTransition);
    },
  );

  test('the counts follow each transition, and a refused one changes none', () => {
    const states = new SessionStates();
    const first = states.enter();
    states.enter();
    expect(states.stats()).toEqual({ initializing: 2, active: 0, orphaned: 0, hibernated: 0 });
    const orphaned = states.move(states.move(first, 'active'), 'orphaned');
    expect(states.stats()).toEqual({ initializing: 1, active: 0, orphaned: 1, hibernated: 0 });
    expect(() => states.move(orphaned, 'closed')).toThrow('no transition leads from orphaned to closed');
    expect(states.stats()).toEqual({ initializing: 1, active: 0, orphaned: 1, hibernated: 0 });
    states.move(states.move(orphaned, 'hibernated'), 'closing');
    expect(states.stats()).toEqual({ initializing: 1, active: 0, orphaned: 0, hibernated: 0 });
  });
});

describe("the states of a session's record", () => {
  test.each(pairsOf<RecordState>(RECORD_STATES))('a record goes from %s to %s only if the table has it', (from, to) => {
    const states = new SessionStates();
    if (RECORD_ALLOWED.includes(`${from} ${to}`)) expect(states.moveRecord(from, to)).toBe(to);
    else expect(() => states.moveRecord(from, to)).toThrow(IllegalTransition);
  });
});
