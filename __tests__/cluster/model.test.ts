import fc from 'fast-check';
import { ClusterWorld } from './model-world.js';

/** More of them with CLUSTER_MODEL_RUNS=20000, say. */
const RUNS = Number(process.env.CLUSTER_MODEL_RUNS ?? 150);

/** One that takes as long, in ms, has come to a standstill; most take a hundredth of a second, or some of them in a busy worker. */
const STANDSTILL = 60_000;

interface Step {
  readonly act: (world: ClusterWorld) => void;
  readonly text: string;
  /** How much happens until the next one. */
  readonly then: number;
}

const which = fc.nat({ max: 2 });
const then = fc.nat({ max: 12 });

const step = (weight: number, text: string, arbitrary: fc.Arbitrary<(world: ClusterWorld) => void>) => ({
  weight,
  arbitrary: fc.tuple(arbitrary, then).map(([act, happens]): Step => ({ act, text, then: happens })),
});

const EVENTS = [
  step(
    2,
    'open',
    which.map((n) => (world) => world.open(n)),
  ),
  step(
    8,
    'ask',
    fc.tuple(which, which).map(
      ([n, id]) =>
        (world) =>
          world.ask(n, id, 'POST'),
    ),
  ),
  step(
    1,
    'delete',
    fc.tuple(which, which).map(
      ([n, id]) =>
        (world) =>
          world.ask(n, id, 'DELETE'),
    ),
  ),
  step(
    2,
    'stop',
    which.map((n) => (world) => world.stop(n)),
  ),
  step(
    2,
    'resume',
    which.map((n) => (world) => world.resume(n)),
  ),
  step(
    1,
    'kill',
    which.map((n) => (world) => world.kill(n)),
  ),
  step(
    1,
    'Redis goes or comes',
    fc.boolean().map((away) => (world) => (world.redisAway = away)),
  ),
  step(
    1,
    'the clock of Redis is stepped',
    fc.constantFrom(0, 10_000, -10_000, 3_600_000, -3_600_000).map((ms) => (world) => (world.redisOffset = ms)),
  ),
  step(
    1,
    'a lease is lost',
    fc.constantFrom(0, 1, 2, 'all' as const).map((n) => (world) => world.loseLease(n)),
  ),
  step(
    2,
    'a connection breaks',
    fc
      .constantFrom('at once', 'after it was done', 'answered by another')
      .map((how) => (world: ClusterWorld) => world.breakNext(how)),
  ),
  step(
    4,
    'time passes',
    fc.constantFrom(50, 300, 1_000, 3_000, 6_000).map((ms) => (world) => world.pass(ms)),
  ),
];

const LENGTH = { minLength: 5, maxLength: 40 };
const STEPS = fc.array(fc.oneof(...EVENTS), LENGTH);

/** With a replica of Redis that may take over. */
const ROLLED_BACK = fc.array(
  fc.oneof(
    ...EVENTS,
    step(
      4,
      'the replica receives all',
      fc.constant((world) => world.replicate()),
    ),
    step(
      3,
      'the replica takes over',
      fc.constant((world) => world.rollBack()),
    ),
  ),
  LENGTH,
);

/** The monotonic clocks of the nodes may run 3 % fast or slow. */
const SPEEDS = fc.array(fc.constantFrom(0.97, 1, 1.03), { minLength: 3, maxLength: 3 });

test(
  `a session has one owner at any time, no answered append is lost, a request is carried out once at most, DELETE is final and no stream goes back (docs/scaling.md), however nodes stop, go on and die, leases are lost and clocks are wrong, in ${RUNS} orders of events`,
  async () => {
    const answers = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), SPEEDS, STEPS, async (scheduler, speeds, steps) => {
        const world = new ClusterWorld(scheduler, speeds);
        await world.happen(50);
        world.open(0);
        await world.happen(50);
        for (const { act, then: happens } of steps) {
          act(world);
          await world.happen(happens);
        }
        await world.settle();
        expect(world.faults).toEqual([]);
        for (const id of world.ids) {
          const said = world.stream(id);
          expect(said).toEqual([...said].sort((a, b) => a.epoch - b.epoch || a.n - b.n));
          const owners = new Map(said.map(({ epoch, owner }) => [epoch, owner]));
          expect(said.every(({ epoch, owner }) => owners.get(epoch) === owner)).toBe(true);
        }
        for (const answer of world.answers) answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }),
      { numRuns: RUNS, endOnFailure: true, timeout: STANDSTILL },
    );
    // It would hold of nodes that do nothing, too.
    for (const answer of ['served', 'gone', 'refused']) expect(answers.get(answer)).toBeGreaterThan(0);
  },
  // Not what tells a standstill, which says its seed.
  120_000 + RUNS * 1_000,
);

test(
  `after Redis went back to an older state, each session has one owner again once it was asked for, and its stream has the events of one owner in each epoch, in ${RUNS} orders of events`,
  async () => {
    let rolledBack = 0;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), SPEEDS, ROLLED_BACK, async (scheduler, speeds, steps) => {
        const world = new ClusterWorld(scheduler, speeds);
        await world.happen(50);
        world.open(0);
        await world.happen(50);
        for (const { act, text, then: happens } of steps) {
          act(world);
          rolledBack += Number(text === 'the replica takes over');
          await world.happen(happens);
        }
        await world.settle();
        for (const node of [0, 1, 2]) for (const n of world.ids.keys()) world.ask(node, n, 'POST');
        await world.settle();
        for (const id of world.ids) {
          expect(world.ownersOf(id)).toBeLessThanOrEqual(1);
          const said = world.stream(id);
          expect(said).toEqual([...said].sort((a, b) => a.epoch - b.epoch || a.n - b.n));
          const owners = new Map(said.map(({ epoch, owner }) => [epoch, owner]));
          expect(said.every(({ epoch, owner }) => owners.get(epoch) === owner)).toBe(true);
        }
      }),
      { numRuns: RUNS, endOnFailure: true, timeout: STANDSTILL },
    );
    expect(rolledBack).toBeGreaterThan(RUNS / 10);
  },
  120_000 + RUNS * 1_000,
);
