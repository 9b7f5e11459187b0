import { KeyedQueue } from '../src/runtime/keyed-queue.js';
import { FakeClock } from './support/fake-clock.js';
import { Deferred, until } from './support/waiting.js';

// docs/two-eras.md, "State": writes of one principal in one process wait for each other, for 5 s at most.

const LONGEST_WAIT = 5_000;

function queueOf() {
  const clock = new FakeClock();
  const queue = new KeyedQueue(clock, LONGEST_WAIT);
  const begun: string[] = [];
  const run = (key: string, name: string) => {
    const work = new Deferred<string>();
    const done = queue.run(key, () => {
      begun.push(name);
      return work.promise;
    });
    return { work, done };
  };
  return { clock, queue, begun, run };
}

test('the work of one key runs one after another, whether it fails or not; another key does not wait', async () => {
  const { queue, begun, run } = queueOf();
  const [first, second, third, other] = [run('a', '1'), run('a', '2'), run('a', '3'), run('b', 'other')];
  expect(begun).toEqual(['1', 'other']);
  first.work.reject(new Error('first fails'));
  await expect(first.done).rejects.toThrow('first fails');
  await until('the second begins', () => begun.includes('2'));
  expect(begun).not.toContain('3');
  second.work.resolve('of second');
  expect(await second.done).toBe('of second');
  await until('the third begins', () => begun.includes('3'));
  for (const { work } of [third, other]) work.resolve('');
  await until('no key is kept', () => queue.size === 0);
});

test('work that hangs delays the next by the longest wait only, and releases no more than one', async () => {
  const { clock, queue, begun, run } = queueOf();
  const [hanging, next, last] = [run('a', 'hanging'), run('a', 'next'), run('a', 'last')];
  await until('the wait for the hanging work is timed', () => clock.untilNext === LONGEST_WAIT);
  clock.advance(LONGEST_WAIT - 1);
  expect(begun).toEqual(['hanging']);
  clock.advance(1);
  await until('the wait for the next work is timed', () => clock.untilNext === LONGEST_WAIT);
  expect(begun).toEqual(['hanging', 'next']);
  clock.advance(LONGEST_WAIT);
  await until('the last begins', () => begun.includes('last'));
  for (const { work } of [next, last, hanging]) work.resolve('');
  await Promise.all([next.done, last.done, hanging.done]);
  await until('no key is kept', () => queue.size === 0);
  expect(begun).toEqual(['hanging', 'next', 'last']);
});

test('work whose turn comes late waits no shorter for the one before it', async () => {
  const { clock, begun, run } = queueOf();
  const [first, second, third] = [run('a', '1'), run('a', '2'), run('a', '3')];
  await until('the wait for the first work is timed', () => clock.untilNext === LONGEST_WAIT);
  clock.advance(LONGEST_WAIT - 1);
  first.work.resolve('');
  await until('the second begins', () => begun.includes('2'));
  await until('the wait for the second work is timed', () => clock.untilNext === LONGEST_WAIT);
  clock.advance(LONGEST_WAIT - 1);
  expect(begun).toEqual(['1', '2']);
  second.work.resolve('');
  await until('the third begins', () => begun.includes('3'));
  third.work.resolve('');
  await third.done;
});
