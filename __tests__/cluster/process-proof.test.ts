import fs from 'node:fs';
import { isGone, ownProof, type ProcessProof } from '../../src/cluster/membership/process-proof.js';
import { until } from '../support/waiting.js';
import { Children, startOf, stateOf } from './in-process-children.js';

let children: Children;
let own: ProcessProof;
beforeEach(() => {
  children = new Children();
  own = ownProof()!;
});
afterEach(() => children.clear());

const proofOf = (pid: number): ProcessProof => ({ ...own, pid, startedAt: startOf(pid) });

describe('the proof that a process on this machine exists no more (docs/scaling.md: at once where death is proved)', () => {
  test('names the machine as this boot of it, the process ID and the time of its start', () => {
    expect(own).toEqual({
      machine: expect.stringMatching(/^[0-9a-f]{32}$/),
      pid: process.pid,
      startedAt: startOf(process.pid),
    });
    expect(ownProof()).toEqual(own);
  });

  test('is none while the process runs, also while it is stopped: SIGSTOP is no death', async () => {
    const pid = await children.sleeper();
    const proof = proofOf(pid);
    expect(isGone(own, own)).toBe(false);
    expect(isGone(proof, own)).toBe(false);
    process.kill(pid, 'SIGSTOP');
    await until('it is stopped', () => stateOf(pid) === 'T');
    expect(isGone(proof, own)).toBe(false);
  });

  test('is there when it was killed by SIGKILL', async () => {
    const pid = await children.sleeper();
    const proof = proofOf(pid);
    await children.kill(pid);
    expect(isGone(proof, own)).toBe(true);
  });

  test('is there when only its number is left, as its parent has not asked how it ended', async () => {
    const { pid, startedAt } = await children.zombie();
    expect(isGone({ ...own, pid, startedAt }, own)).toBe(true);
  });

  test('is there when its ID was given to another process, which started at another time', async () => {
    const proof = proofOf(await children.sleeper());
    expect(isGone({ ...proof, startedAt: String(Number(proof.startedAt) - 1) }, own)).toBe(true);
  });

  test('is never there for a process of another machine: what has its ID here is another', async () => {
    const pid = await children.sleeper();
    const elsewhere = { ...proofOf(pid), machine: 'f'.repeat(32) };
    await children.kill(pid);
    expect(isGone(elsewhere, own)).toBe(false);
    expect(isGone({ ...elsewhere, pid: process.pid, startedAt: '1' }, own)).toBe(false);
  });

  test.each(['a) Z 1 2 3', ') Z (', '(a b) c'])('is not misled by the name of the program: %s', async (name) => {
    const pid = await children.sleeper(name);
    const proof = proofOf(pid);
    expect(isGone(proof, own)).toBe(false);
    await children.kill(pid);
    expect(isGone(proof, own)).toBe(true);
  });
});

describe('a /proc that does not describe this process', () => {
  /** Has /proc/self/stat read so. */
  const misread = (stat: string): void => {
    const read = fs.readFileSync;
    jest.spyOn(fs, 'readFileSync').mockImplementation((...args: Parameters<typeof read>) => {
      return args[0] === '/proc/self/stat' ? stat : read(...args);
    });
  };
  afterEach(() => jest.restoreAllMocks());

  test.each([
    ['is of another PID namespace (unshare(1), --pid without --mount-proc)', (stat: string) => `1${stat}`],
    ['has too few fields', (stat: string) => stat.split(' ').slice(0, 10).join(' ')],
  ])('gives no proof when it %s', (_what, change) => {
    const stat = fs.readFileSync('/proc/self/stat', 'utf8');
    misread(stat);
    expect(ownProof()).toEqual(own);
    misread(change(stat));
    expect(ownProof()).toBeUndefined();
  });
});
