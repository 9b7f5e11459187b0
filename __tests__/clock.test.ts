import fc from 'fast-check';
import { guardClock, systemClock, wallTime, type Clock } from '../src/runtime/clock.js';
import { FakeClock } from './support/fake-clock.js';

describe('systemClock', () => {
  test('tells monotonic time, not that of the wall clock, which jumps', () => {
    const before = performance.now();
    const now = systemClock.now();
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now).toBeLessThanOrEqual(performance.now());
  });

  test('runs a timer, and never one that was cleared', async () => {
    let ran = false;
    systemClock.clearTimeout(systemClock.setTimeout(() => (ran = true), 1));
    // Its timers do not keep the process alive; under Jest something else does.
    await new Promise<void>((resolve) => systemClock.setTimeout(resolve, 5));
    expect(ran).toBe(false);
  });

  test("does not keep the process alive: a pending timer must not stop an app's exit", () => {
    const timer = systemClock.setTimeout(() => undefined, 60_000) as NodeJS.Timeout;
    expect(timer.hasRef()).toBe(false);
    systemClock.clearTimeout(timer);
  });
});

describe("the clock of a router's options", () => {
  const broken = (): never => {
    throw new Error('broken');
  };
  const guarded = (clock: Partial<Clock> | { wallTime: undefined }) => {
    const failures: string[] = [];
    return { clock: guardClock(Object.assign(new FakeClock(), clock), (what) => failures.push(what)), failures };
  };

  test("reports a clock that throws once, and uses Node's timers in its place, which can be cleared", async () => {
    const { clock, failures } = guarded({ setTimeout: broken, clearTimeout: broken });
    const ran: string[] = [];
    clock.clearTimeout(clock.setTimeout(() => ran.push('cleared'), 1));
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 5));
    clock.clearTimeout('a timer of the clock');
    expect(ran).toEqual([]);
    expect(failures).toEqual(['option clock']);
  });

  test('stands still while the clock throws', () => {
    let now = (): number => 7;
    const { clock } = guarded({ now: () => now() });
    expect(clock.now()).toBe(7);
    now = broken;
    expect(clock.now()).toBe(7);
  });

  test('tells the time of the wall by Date when the clock has no wall time, or throws', () => {
    for (const wall of [{ wallTime: undefined }, { wallTime: broken }]) {
      const before = Date.now();
      const time = wallTime(guarded(wall).clock);
      expect(time).toBeGreaterThanOrEqual(before);
      expect(time).toBeLessThanOrEqual(Date.now());
    }
  });
});

describe('FakeClock', () => {
  test('runs timers in the order in which they are due, then armed, each at its own time, and no others', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20)), fc.nat(25), (delays, ms) => {
        const clock = new FakeClock();
        const start = clock.now();
        const ran: { index: number; at: number }[] = [];
        delays.forEach((delay, index) => clock.setTimeout(() => ran.push({ index, at: clock.now() - start }), delay));
        clock.advance(ms);
        const wanted = delays.map((delay, index) => ({ index, at: Math.max(1, delay) })).filter(({ at }) => at <= ms);
        expect(ran).toEqual(wanted.sort((a, b) => a.at - b.at || a.index - b.index));
        expect(clock.pending).toBe(delays.length - ran.length);
        expect(clock.now()).toBe(start + ms);
      }),
    );
  });

  test('runs timers that are armed on the way, and not those that are cleared on the way', () => {
    const clock = new FakeClock(0);
    const ran: string[] = [];
    const cleared = clock.setTimeout(() => ran.push('cleared'), 5);
    clock.setTimeout(() => {
      clock.clearTimeout(cleared);
      clock.setTimeout(() => ran.push(`second at ${clock.now()}`), 3);
      clock.setTimeout(() => ran.push('too late'), 9);
    }, 4);
    clock.advance(10);
    expect(ran).toEqual(['second at 7']);
    expect(clock.pending).toBe(1);
  });

  test('lets out what a callback throws, then goes on where it stood', () => {
    const clock = new FakeClock(0);
    const ran: number[] = [];
    clock.setTimeout(() => {
      throw new Error('mine');
    }, 1);
    clock.setTimeout(() => ran.push(clock.now()), 2);
    expect(() => clock.advance(5)).toThrow('mine');
    expect([clock.now(), clock.pending]).toEqual([1, 1]);
    clock.advance(5);
    expect(ran).toEqual([2]);
    expect(clock.now()).toBe(6);
  });

  test('runs timers late that fell due while the event loop was blocked', () => {
    const clock = new FakeClock(0);
    const ran: number[] = [];
    clock.setTimeout(() => ran.push(clock.now()), 2);
    clock.block(10);
    expect(ran).toEqual([]);
    clock.advance(0);
    expect(ran).toEqual([10]);
    expect(clock.now()).toBe(10);
  });

  test('refuses delays at which Node would fire at once, and time that goes back', () => {
    const clock = new FakeClock();
    for (const ms of [NaN, -1, 2 ** 31, Infinity])
      expect(() => clock.setTimeout(() => undefined, ms)).toThrow(RangeError);
    for (const ms of [NaN, -1]) {
      expect(() => clock.advance(ms)).toThrow(RangeError);
      expect(() => clock.block(ms)).toThrow(RangeError);
    }
    expect(clock.pending).toBe(0);
  });
});
