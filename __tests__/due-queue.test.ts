import fc from 'fast-check';
import { Deadline, DeadlineQueue } from '../src/runtime/deadline-queue.js';
import { FakeClock } from './support/fake-clock.js';

/** A clock on which a second timer is an error. */
class OneTimerClock extends FakeClock {
  /** How often a timer was armed. */
  armed = 0;

  override setTimeout(callback: () => void, ms: number): unknown {
    expect(this.pending).toBe(0);
    this.armed += 1;
    return super.setTimeout(callback, ms);
  }
}

type Act =
  | { readonly act: 'add'; readonly item: string; readonly ago: number }
  | { readonly act: 'delete'; readonly item: string }
  | { readonly act: 'block'; readonly ms: number }
  | { readonly act: 'throw' };

type Step = Act | { readonly act: 'advance'; readonly ms: number };

const ITEMS = ['a', 'b', 'c', 'd', 'e'];

class Thrown extends Error {}

/**
 * A queue beside the plainest model of one: a list in which the first is due next. The model judges each item as the queue
 * gives it out; `howLate` is what it is allowed.
 */
class Trial {
  readonly clock = new OneTimerClock();
  readonly #queue: DeadlineQueue<string>;
  readonly #places = new Map(ITEMS.map((item) => [item, new Deadline(item)]));
  readonly #delay: number;
  readonly #howLate: () => number;
  #waiting: { readonly item: string; readonly since: number; readonly dueAt: number }[] = [];
  /** What the handler does as each of the next items is due. */
  readonly #reactions: (readonly Act[])[];

  constructor(delay: number, reactions: readonly (readonly Act[])[], howLate: () => number = () => 0) {
    this.#delay = delay;
    this.#reactions = [...reactions];
    this.#howLate = howLate;
    this.#queue = new DeadlineQueue(this.clock, delay, (item) => this.#onDue(item));
  }

  do(step: Step): void {
    if (step.act === 'add') return this.#add(step.item, step.ago);
    if (step.act === 'advance') return this.clock.advance(step.ms);
    if (step.act === 'block') return this.clock.block(step.ms);
    if (step.act === 'throw') throw new Thrown();
    this.#waiting = this.#waiting.filter(({ item }) => item !== step.item);
    this.#place(step.item).cancel();
  }

  check(): void {
    expect(this.#queue.oldest()).toBe(this.#waiting[0]?.item);
    expect(ITEMS.filter((item) => this.#place(item).queue === this.#queue)).toEqual(
      this.#waiting.map(({ item }) => item).sort(),
    );
    expect(this.clock.pending).toBe(this.#waiting.length > 0 ? 1 : 0);
  }

  /** Nothing waits that should have been given out by now. */
  checkNoneLate(): void {
    for (const { dueAt } of this.#waiting) expect(dueAt + this.#howLate()).toBeGreaterThan(this.clock.now());
  }

  #place(item: string): Deadline<string> {
    return this.#places.get(item)!;
  }

  #add(item: string, ago: number): void {
    const since = this.clock.now() - ago;
    const dueAt = Math.max(since + this.#delay, this.clock.now());
    const others = this.#waiting.filter((waiting) => waiting.item !== item);
    const earlier = others.filter((waiting) => waiting.since <= since);
    this.#waiting = [...earlier, { item, since, dueAt }, ...others.slice(earlier.length)];
    if (ago === 0) this.#queue.add(this.#place(item));
    else this.#queue.add(this.#place(item), since);
  }

  #onDue(item: string): void {
    const first = this.#waiting.shift();
    expect(item).toBe(first?.item);
    expect(this.clock.now()).toBeGreaterThanOrEqual(first!.dueAt);
    expect(this.clock.now()).toBeLessThanOrEqual(first!.dueAt + this.#howLate());
    expect(this.#place(item).queue).toBeUndefined();
    for (const act of this.#reactions.shift() ?? []) this.do(act);
  }
}

const DELAY = 10;
const item = fc.constantFrom(...ITEMS);
const now = fc.record({ act: fc.constant('add' as const), item, ago: fc.constant(0) });
const since = fc.record({ act: fc.constant('add' as const), item, ago: fc.integer({ min: 0, max: DELAY - 1 }) });
const removal = fc.record({ act: fc.constant('delete' as const), item });
const thrown = fc.constant({ act: 'throw' as const });
const advance = fc.record({ act: fc.constant('advance' as const), ms: fc.nat(DELAY + 2) });

const often = { arbitrary: fc.oneof(now, since), weight: 4 };
const steps = fc.array(fc.oneof(often, removal, { arbitrary: advance, weight: 3 }), {
  maxLength: 40,
});
/** What a handler does as each item is due. */
const reactionsOf = (...acts: fc.MaybeWeightedArbitrary<Act>[]): fc.Arbitrary<Act[][]> =>
  fc.array(fc.array(fc.oneof(...acts), { maxLength: 3 }), { maxLength: 20 });
const reactions = reactionsOf(often, removal);

describe('DueQueue', () => {
  test('gives out each item once, in order, on the very millisecond; one timer at most, none when empty', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const trial = new Trial(DELAY, []);
        for (const step of [...all, { act: 'advance', ms: DELAY } as const]) {
          trial.do(step);
          trial.check();
          trial.checkNoneLate();
        }
        expect(trial.clock.pending).toBe(0);
        // Nor does it look more often than it must: once for each item that was added, once for each that was moved or deleted.
        expect(trial.clock.armed).toBeLessThanOrEqual(2 * all.length);
      }),
      { numRuns: 300 },
    );
  });

  test('does so whatever the handler adds or deletes while it runs', () => {
    fc.assert(
      fc.property(steps, reactions, (all, reacting) => {
        const trial = new Trial(DELAY, reacting);
        for (const step of [...all, { act: 'advance', ms: DELAY } as const]) {
          trial.do(step);
          trial.check();
          trial.checkNoneLate();
        }
      }),
      { numRuns: 300 },
    );
  });

  test('loses no other item and keeps its timer when the handler throws; what it throws is not swallowed', () => {
    fc.assert(
      fc.property(steps, reactionsOf({ arbitrary: thrown, weight: 3 }, often, removal), (all, reacting) => {
        let caught = 0;
        // Each throw ends a turn, and the next turn's timer takes a millisecond.
        const trial = new Trial(DELAY, reacting, () => caught);
        for (const step of [...all, { act: 'advance', ms: DELAY } as const]) {
          const end = trial.clock.now() + (step.act === 'advance' ? step.ms : 0);
          for (let todo: Step | undefined = step; todo !== undefined;) {
            try {
              trial.do(todo);
              todo = undefined;
            } catch (error) {
              if (!(error instanceof Thrown)) throw error;
              caught += 1;
              todo = { act: 'advance', ms: Math.max(0, end - trial.clock.now()) };
            }
          }
          trial.check();
          trial.checkNoneLate();
        }
        expect(caught).toBeLessThanOrEqual(reacting.flat().filter(({ act }) => act === 'throw').length);
      }),
      { numRuns: 300 },
    );
  });

  test('gives out no item early and none a millisecond late where time has fractions, as performance.now() has', () => {
    // Eighths, which floating point adds exactly.
    const eighths = (max: number): fc.Arbitrary<number> => fc.nat(max * 8).map((n) => n / 8);
    const add = fc.record({ act: fc.constant('add' as const), item, ago: eighths(2 * DELAY) });
    const step = fc.oneof(
      { arbitrary: add, weight: 3 },
      { arbitrary: fc.record({ act: fc.constant('advance' as const), ms: eighths(DELAY + 2) }), weight: 3 },
      removal,
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), reactionsOf(add, removal), (all, reacting) => {
        const trial = new Trial(DELAY, reacting, () => 1);
        for (const each of all) {
          trial.do(each);
          trial.check();
          trial.checkNoneLate();
        }
      }),
      { numRuns: 300 },
    );
  });

  test('gives out late, but all and in order, what fell due while something blocked the event loop', () => {
    const block = fc.record({ act: fc.constant('block' as const), ms: fc.nat(3 * DELAY) });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(often, removal, advance, block), { maxLength: 40 }),
        reactionsOf(often, removal, block),
        (all, reacting) => {
          const blocked = [...all, ...reacting.flat()].reduce(
            (sum, step) => sum + (step.act === 'block' ? step.ms : 0),
            0,
          );
          const trial = new Trial(DELAY, reacting, () => blocked + 1);
          for (const step of all) {
            trial.do(step);
            trial.check();
          }
          // Far enough that whatever the handler adds has been given out too.
          trial.do({ act: 'advance', ms: 100 * DELAY });
          expect(trial.clock.pending).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each<[string, (n: number) => number]>([
    ['oldest first', (n) => n],
    ['newest first', (n) => -n],
    ['from both ends', (n) => (n % 2 === 0 ? n : -n)],
    ['in no order', (n) => (n * 7_919) % 4_001],
    ['all at once', () => 0],
  ])('takes 4,000 items %s, and returns them, in far fewer than 4,000² steps', (_order, since) => {
    const COUNT = 4_000;
    const clock = new FakeClock();
    let steps = 0;
    let last = -Infinity;
    const queue = new DeadlineQueue<number>(clock, 2 * COUNT, (at) => {
      expect(at).toBeGreaterThanOrEqual(last);
      last = at;
    });
    const places = Array.from({ length: COUNT }, (_, n) => {
      const due = new Deadline(since(n));
      let at = 0;
      // Each read of an item's time is a step.
      Object.defineProperty(due, 'at', { get: () => ((steps += 1), at), set: (time: number) => (at = time) });
      return due;
    });
    for (const due of places) queue.add(due, clock.now() + due.item);
    // Items are removed from all over the queue.
    for (let n = 0; n < COUNT; n += 3) places[n]!.cancel();
    clock.advance(4 * COUNT);
    expect(queue.oldest()).toBeUndefined();
    expect(last).toBe(Math.max(...places.filter((_, n) => n % 3 !== 0).map(({ item }) => item)));
    // Two reads a comparison. The heap has a height of 12, and adding, removing and taking cost twice that at most.
    expect(steps).toBeLessThan(COUNT * 12 * 12);
  });

  test('takes an item from the queue that it was in, whose timer stops with its last item', () => {
    const clock = new FakeClock();
    const given: string[] = [];
    const early = new DeadlineQueue<string>(clock, 10, (item) => given.push(`early ${item}`));
    const late = new DeadlineQueue<string>(clock, 20, (item) => given.push(`late ${item}`));
    const due = new Deadline('a');
    early.add(due);
    late.add(due);
    expect([early.oldest(), late.oldest(), clock.pending]).toEqual([undefined, 'a', 1]);
    early.delete(due);
    clock.advance(20);
    expect(given).toEqual(['late a']);
  });

  test('holds nothing of an item that has left: a link left behind would keep all that left after it', () => {
    const queue = new DeadlineQueue<string>(new FakeClock(), 10, () => undefined);
    const [a, b, c] = ['a', 'b', 'c'].map((item) => new Deadline(item)) as [
      Deadline<string>,
      Deadline<string>,
      Deadline<string>,
    ];
    for (const due of [a, b, c]) queue.add(due);
    b.cancel();
    expect([b.queue, b.before, b.after]).toEqual([undefined, undefined, undefined]);
    expect([a.after, c.before]).toEqual([c, a]);
    c.cancel();
    expect([a.after, queue.oldest()]).toEqual([undefined, 'a']);
  });
});
