import { LifecyclePhase, PHASES, type Phase } from '../src/runtime/lifecycle-phase.js';
import { IllegalTransition } from '../src/runtime/transitions.js';

/** The ways to each phase. */
const WAYS: Record<Phase, Phase[]> = {
  running: [],
  draining: ['draining'],
  closing: ['closing'],
  closed: ['closing', 'closed'],
};
const ALLOWED = ['running draining', 'running closing', 'draining closing', 'closing closed'];
const PAIRS = (Object.keys(PHASES) as Phase[]).flatMap((from) =>
  (Object.keys(PHASES) as Phase[]).map((to): [Phase, Phase] => [from, to]),
);

function lifecycleIn(phase: Phase): LifecyclePhase {
  const lifecycle = new LifecyclePhase();
  for (const step of WAYS[phase]) lifecycle.moveTo(step);
  return lifecycle;
}

test.each(PAIRS)('a router goes from %s to %s only if the table has it', (from, to) => {
  const lifecycle = lifecycleIn(from);
  if (ALLOWED.includes(`${from} ${to}`)) {
    lifecycle.moveTo(to);
    expect(lifecycle.phase).toBe(to);
  } else {
    expect(() => lifecycle.moveTo(to)).toThrow(IllegalTransition);
    expect(lifecycle.phase).toBe(from);
  }
});

test.each([
  ['running', false, false],
  ['draining', true, false],
  ['closing', true, true],
  ['closed', true, true],
] as const)('in the phase %s, isDraining is %s and isClosing is %s', (phase, isDraining, isClosing) => {
  expect(lifecycleIn(phase)).toMatchObject({ phase, isDraining, isClosing });
});
