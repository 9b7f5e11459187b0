import fc from 'fast-check';
import { TIMING, TOUCH_INTERVAL } from './model-node.js';
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
    'a node loses Redis or finds it',
    fc.tuple(which, fc.boolean()).map(
      ([n, isolated]) =>
        (world) =>
          world.isolate(n, isolated),
    ),
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
      .constantFrom('at once', 'after it was done', 'answered by another', 'stalled')
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

/** The monotonic clock of one node may run 20 % faster than that of another (docs/scaling.md, "Why two nodes never own a session"). */
const SLOWEST = 0.917;
const SPEEDS = fc.array(fc.constantFrom(SLOWEST, 1, 1.1), { minLength: 3, maxLength: 3 });

/**
 * How long two nodes may own a session after Redis went back, in ms (docs/scaling.md, "What Redis must be"): until the next touch of the
 * first one is answered. A node whose commands are not answered is fenced.
 */
const OVERLAP = (TOUCH_INTERVAL + TIMING.fenceAfter) / SLOWEST;

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
        const late = (): number[] => world.overlaps.filter((at) => at > world.rolledBackAt + OVERLAP);
        for (const { act, text, then: happens } of steps) {
          act(world);
          rolledBack += Number(text === 'the replica takes over');
          await world.happen(happens);
          expect(late()).toEqual([]);
        }
        await world.settle();
        for (const node of [0, 1, 2]) for (const n of world.ids.keys()) world.ask(node, n, 'POST');
        await world.settle();
        expect(late()).toEqual([]);
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

/** Each of these plays one story, so a few orders of its events are enough. */
const STORIES = Math.ceil(RUNS / 15);

test(
  `an owner that is cut off from Redis stops before another node claims its session, with the shortest lease that is accepted and clocks that differ by 20 %, in ${STORIES} orders of events`,
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.nat({ max: 3_000 }), async (scheduler, before) => {
        const world = await ClusterWorld.withSession(scheduler, [SLOWEST, 1.1, 1]);
        await world.run(before);
        // A broken connection makes the other node read the leases anew, so that it knows of the last renewal at once.
        for (let passed = 0; passed < 10_000; passed += 20) {
          if (passed === 2_000) world.isolate(0, true);
          if (passed % 100 === 0 && passed < 4_000) world.breakNext('at once');
          if (passed % 100 === 0) world.ask(1, 0, 'POST');
          world.ask(0, 0, 'POST');
          await world.run(20);
        }
        expect(world.faults).toEqual([]);
        expect(world.node(1).sessions.size).toBe(1);
      }),
      { numRuns: STORIES, endOnFailure: true, timeout: STANDSTILL },
    );
  },
  120_000 + STORIES * 5_000,
);

test(
  `a node gives a session up within 5 s and an answer after Redis lost its claim, however old the claim was, in ${2 * STORIES} orders of events`,
  async () => {
    let overlaps = 0;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), SPEEDS, fc.constantFrom(100, 8_000, 45_000), async (scheduler, speeds, age) => {
        const world = await ClusterWorld.withSession(scheduler, speeds);
        world.kill(0);
        await world.run(2 * TIMING.lease);
        world.replicate();
        world.ask(1, 0, 'POST');
        await world.run(age);
        expect(world.node(1).sessions.size).toBe(1);
        world.rollBack();
        for (let passed = 0; passed < 2 * OVERLAP; passed += 500) {
          world.ask(2, 0, 'POST');
          await world.run(500);
        }
        overlaps += world.overlaps.length;
        expect(world.overlaps.filter((at) => at > world.rolledBackAt + OVERLAP)).toEqual([]);
        expect(world.node(2).sessions.size).toBe(1);
      }),
      { numRuns: 2 * STORIES, endOnFailure: true, timeout: STANDSTILL },
    );
    expect(overlaps).toBeGreaterThan(0);
  },
  120_000 + STORIES * 5_000,
);

test(
  `a node that was fenced claims nothing by what it read before, when Redis went back and the owner has not found out yet, in ${STORIES} orders of events`,
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), SPEEDS, async (scheduler, speeds) => {
        const world = await ClusterWorld.withSession(scheduler, speeds);
        await world.run(2 * TIMING.lease);
        world.breakNext('at once');
        world.ask(1, 0, 'POST');
        await world.run(1);
        world.replicate();
        world.isolate(1, true);
        await world.run((1.1 * TIMING.lease) / SLOWEST);
        world.isolate(1, false);
        world.rollBack();
        for (let passed = 0; passed < TIMING.lease; passed += 100) {
          for (const n of [0, 1]) world.ask(n, 0, 'POST');
          await world.run(100);
        }
        expect(world.overlaps).toEqual([]);
      }),
      { numRuns: STORIES, endOnFailure: true, timeout: STANDSTILL },
    );
  },
  120_000 + STORIES * 5_000,
);

test(
  `a call is begun once when its node is fenced at once, and its 102 arrives late, in ${STORIES} orders of events`,
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.nat({ max: 150 }), async (scheduler, before) => {
        const world = await ClusterWorld.withSession(scheduler, [1, SLOWEST, 1]);
        // The owner's next renewal is due soon. It is then fenced, and writes that it has left.
        await world.run(2 * TIMING.renewInterval - 250 - before);
        world.breakNext('stalled');
        world.ask(1, 0, 'POST');
        await world.run(10);
        world.loseRenewals(0);
        for (let passed = 0; passed < TIMING.lease; passed += 100) {
          // After a broken connection, the node reads the leases anew.
          world.breakNext('at once');
          world.ask(1, 0, 'POST');
          await world.run(100);
        }
        expect(world.faults).toEqual([]);
      }),
      { numRuns: STORIES, endOnFailure: true, timeout: STANDSTILL },
    );
  },
  120_000 + STORIES * 5_000,
);
