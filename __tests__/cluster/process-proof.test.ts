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
  const read = fs.readFileSync;
  /** Has a file of /proc read so. */
  const misread = (file: string, text: string): void => {
    jest.spyOn(fs, 'readFileSync').mockImplementation((...args: Parameters<typeof read>) => {
      return args[0] === file ? text : read(...args);
    });
  };
  afterEach(() => jest.restoreAllMocks());

  const { pid } = process;
  test.each<[string, string, (text: string) => string]>([
    [
      'is of another PID namespace, in which this process has another ID (unshare(1), --pid without --mount-proc)',
      '/proc/self/status',
      (status) => status.replace(/^NSpid:.*$/m, `NSpid:\t1${pid}\t${pid}`),
    ],
    [
      'is of another PID namespace, in which this process happens to have the same ID',
      '/proc/self/status',
      (status) => status.replace(/^NSpid:.*$/m, `NSpid:\t${pid}\t${pid}`),
    ],
    [
      'does not say which namespace it is of, as where another system imitates Linux',
      '/proc/self/status',
      (status) => status.replace(/^NSpid:.*\n/m, ''),
    ],
    ['has too few fields', '/proc/self/stat', (stat) => stat.split(' ').slice(0, 10).join(' ')],
  ])('gives no proof when it %s', (_what, file, change) => {
    const text = fs.readFileSync(file, 'utf8');
    misread(file, text);
    expect(ownProof()).toEqual(own);
    misread(file, change(text));
    expect(ownProof()).toBeUndefined();
  });
});

describe('two processes of one machine with the same host name (docs/scaling.md, "When the owner dies")', () => {
  const read = fs.readlinkSync;
  /** Has a link of /proc read so; with an error if there is no target. */
  const relink = (link: string, target?: string): void => {
    jest.spyOn(fs, 'readlinkSync').mockImplementation((...args: Parameters<typeof read>) => {
      if (args[0] !== link) return read(...args);
      if (target === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return target;
    });
  };
  afterEach(() => jest.restoreAllMocks());

  test.each([
    ['PID', 'as of two containers: they do not see each other', '/proc/self/ns/pid', 'pid:[1]'],
    ['time', 'as the same process has another start time in each', '/proc/self/ns/time', 'time:[1]'],
  ])('prove nothing about each other from different %s namespaces, %s', async (_name, _why, link, target) => {
    const pid = await children.sleeper();
    const proof = proofOf(pid);
    await children.kill(pid);
    expect(isGone(proof, own)).toBe(true);
    relink(link, target);
    const other = ownProof()!;
    expect(other).toEqual({ ...own, machine: expect.stringMatching(/^[0-9a-f]{32}$/) });
    expect(isGone(proof, other)).toBe(false);
  });

  test('have a proof on a Linux without time namespaces, too', () => {
    relink('/proc/self/ns/time');
    const proof = ownProof()!;
    expect(proof).toMatchObject({ pid: own.pid, startedAt: own.startedAt });
    expect(ownProof()).toEqual(proof);
  });
});
