import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClassicLevel } from 'classic-level';
import { sessionStoreContract } from 'express-mcp-router/testing';
import { fileStore } from '../../example-app/src/file-store.js';
import { until } from '../support/waiting.js';
import { recordAfter, stepsOf } from './storm-records.js';
import { bundle, SOURCES } from '../support/program.js';

const HOUR = 3_600_000;

const root = mkdtempSync(join(tmpdir(), 'file-store-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let databases = 0;
/** A path where nothing is, nor the directory that it is in. */
const newPath = (): string => join(root, String((databases += 1)), 'sessions');

/** The keys and values of a database as text. No process may have it open. */
async function contents(path: string): Promise<[key: string, value: string][]> {
  const db = new ClassicLevel(path);
  const entries = await db.iterator().all();
  await db.close();
  return entries;
}

/** Has only the hands of the clock and its intervals turned by the test: a database works with all the rest. */
function turnTheClockByHand(): void {
  jest.useFakeTimers({
    now: Date.now(),
    doNotFake: [
      'nextTick',
      'queueMicrotask',
      'setImmediate',
      'clearImmediate',
      'setTimeout',
      'clearTimeout',
      'performance',
    ],
  });
}

afterEach(() => void jest.useRealTimers());

describe('the contract', () => {
  let opened: Awaited<ReturnType<typeof fileStore>>;
  beforeAll(async () => {
    opened = await fileStore(newPath());
  });
  afterAll(() => opened.close());
  beforeEach(turnTheClockByHand);

  const pass = async (ms: number): Promise<void> => jest.setSystemTime(Date.now() + ms);
  for (const { name, run } of sessionStoreContract({ store: () => opened.store, pass })) test(name, run);
});

test('records are there when it is opened again, with their owner, epoch and time', async () => {
  turnTheClockByHand();
  const path = newPath();
  const first = await fileStore(path);
  await first.store.create('a', '{"a":1}', 'x', HOUR);
  await first.store.claim('a', { owner: 'x', epoch: 0 }, 'y');
  await first.close();
  jest.setSystemTime(Date.now() + HOUR - 1);
  const second = await fileStore(path);
  expect(await second.store.get('a')).toEqual({ data: '{"a":1}', epoch: 1, owner: 'y' });
  jest.setSystemTime(Date.now() + 1);
  expect(await second.store.get('a')).toBeUndefined();
  await second.close();
});

test('expired records are removed when the store is opened', async () => {
  turnTheClockByHand();
  const path = newPath();
  const first = await fileStore(path);
  for (let n = 0; n < 100; n += 1) await first.store.create(`over-${n}`, '{}', undefined, HOUR);
  await first.store.create('alive', '{}', undefined, 2 * HOUR);
  await first.close();
  jest.setSystemTime(Date.now() + HOUR);
  await (await fileStore(path)).close();
  expect((await contents(path)).map(([key]) => key)).toEqual(['mcp-session:alive']);
});

test('expired records are removed every hour', async () => {
  turnTheClockByHand();
  const path = newPath();
  const { store, close } = await fileStore(path);
  const removed = jest.spyOn(ClassicLevel.prototype, 'del');
  await store.create('over', '{}', undefined, HOUR);
  await store.create('alive', '{}', undefined, 2 * HOUR + 1);
  jest.advanceTimersByTime(HOUR - 1);
  await sleep(20);
  expect(removed).toHaveBeenCalledTimes(0);
  jest.advanceTimersByTime(1);
  await until('one is removed', () => removed.mock.calls.length === 1);
  await store.create('over too', '{}', undefined, 1);
  jest.advanceTimersByTime(HOUR);
  await until('another is removed', () => removed.mock.calls.length === 2);
  removed.mockRestore();
  await close();
  expect(jest.getTimerCount()).toBe(0);
  expect((await contents(path)).map(([key]) => key)).toEqual(['mcp-session:alive']);
});

test('a path where there is something else, or a database that is in use, is refused, saying why', async () => {
  const path = newPath();
  const { store, close } = await fileStore(path);
  await expect(fileStore(path)).rejects.toThrow(`cannot open ${path}: IO error: lock ${path}/LOCK`);
  await store.create('a', '{}', undefined, HOUR);
  await close();
  const file = join(root, 'a-file');
  writeFileSync(file, 'not a database');
  await expect(fileStore(file)).rejects.toThrow(`cannot open ${file}: EEXIST`);
});

test('a closed store rejects each operation, and does not resolve as without a record', async () => {
  const { store, close } = await fileStore(newPath());
  await store.create('a', '{}', undefined, HOUR);
  await close();
  await expect(store.get('a')).rejects.toThrow('Database is not open');
  await expect(store.create('b', '{}', undefined, HOUR)).rejects.toThrow('Database is not open');
});

describe('a process that is killed in a storm of writes', () => {
  const ROUNDS = 4;

  let storm: string;
  beforeAll(() => {
    storm = bundle('__tests__/example-app/storm.ts', { alias: SOURCES });
  });

  /** Lets a process write until it is killed; how many steps were acknowledged to it, by ID. */
  async function killedStorm(path: string, round: number): Promise<Map<string, number>> {
    const child = spawn(process.execPath, [storm, path, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const closed = once(child, 'close');
      let printed = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
      await until('it writes', () => printed.length > 5_000);
      await sleep(10 * round);
      child.kill('SIGKILL');
      expect(await closed).toEqual([null, 'SIGKILL']);
      // The last line may have been cut off.
      const lines = printed.split('\n').slice(0, -1);
      return new Map(lines.map((line) => line.split(' ')).map(([id, step]) => [id!, Number(step)]));
    } finally {
      child.kill('SIGKILL');
    }
  }

  /** Whether the records are there, as acknowledged. */
  async function check(path: string, acknowledged: Map<string, number>): Promise<void> {
    const { store, close } = await fileStore(path);
    for (const [id, steps] of acknowledged) {
      // The step after the last reported one may have been done too.
      const possible = [recordAfter(id, steps), recordAfter(id, Math.min(steps + 1, stepsOf(id)))];
      expect(possible).toContainEqual(await store.get(id));
    }
    await close();
  }

  test('keeps every confirmed write and no corrupt record, at each kill', async () => {
    const path = newPath();
    const all = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const acknowledged = await killedStorm(path, round);
      expect(acknowledged.size).toBeGreaterThan(20);
      await check(path, acknowledged);
      for (const [id, steps] of acknowledged) all.set(id, steps);
    }
    await check(path, all);
    const odd = (await contents(path)).filter(([key, text]) => {
      const { value } = JSON.parse(text) as { value: { data: string } };
      return (JSON.parse(value.data) as { id: string }).id !== key.replace('mcp-session:', '');
    });
    expect(odd).toEqual([]);
  });
});
