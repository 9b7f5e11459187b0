import type { SessionState } from '../../src/events.js';
import { IllegalTransition } from '../../src/runtime/transitions.js';
import { SESSION_STATES, SessionStates } from '../../src/sessions/session-states.js';

const STATES = Object.keys(SESSION_STATES) as SessionState[];
const pairs = STATES.flatMap((from) => STATES.map((to) => [from, to] as const));

/** Written down a second time, so that a change of the table is a change of this list. */
const ALLOWED = [
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

describe('the states of a session', () => {
  test.each(pairs)('a session goes from %s to %s only if the table has it', (from, to) => {
    const states = new SessionStates();
    if (ALLOWED.includes(`${from} ${to}`)) expect(states.move(from, to)).toBe(to);
    else expect(() => states.move(from, to)).toThrow(IllegalTransition);
  });

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
