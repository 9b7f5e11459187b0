import fs, { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stdoutDestination } from '../../src/observe/logging/log-destination.js';
import { FakeClock } from '../support/fake-clock.js';

/** How soon the destination writes again, in ms. */
const RETRY = 200;
/** More bytes than the destination keeps. */
const LINE = `${'x'.repeat(40_000)}\n`;

const clock = new FakeClock();
let folder: string;
let file: string;
let fd: number;
let lost: number;
const onLost = (): void => void (lost += 1);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-destination-'));
  file = join(folder, 'log');
  fd = openSync(file, 'a');
  lost = 0;
});
afterEach(() => {
  jest.restoreAllMocks();
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

/** Makes each write to the descriptor fail with that error until the returned function is called. */
function failing(code: string): () => void {
  const mock = jest.spyOn(fs, 'writeSync').mockImplementation(() => {
    throw Object.assign(new Error(code), { code });
  });
  return () => mock.mockRestore();
}

/** Puts another stream in the place of stdout. */
function withStdout(stdout: object): void {
  jest.spyOn(process, 'stdout', 'get').mockReturnValue(stdout as typeof process.stdout);
}

describe("the default logger's destination (docs/operations.md, logs)", () => {
  test('writes each line to the descriptor of stdout', () => {
    withStdout(Object.create({ fd, write: () => true }) as object);
    stdoutDestination(clock, onLost)?.write('one\n');
    expect(readFileSync(file, 'utf8')).toBe('one\n');
  });

  test('writes to descriptor 1 in a worker thread, where stdout has none', () => {
    withStdout(Object.create({ write: () => true }) as object);
    const written = jest.spyOn(fs, 'writeSync').mockReturnValue(4);
    stdoutDestination(clock, onLost)?.write('one\n');
    expect(written.mock.calls[0]?.[0]).toBe(1);
  });

  test('is that of pino when a test runner has replaced the write function of stdout', () => {
    withStdout({ fd, write: () => true });
    expect(stdoutDestination(clock, onLost)).toBeUndefined();
  });

  test('counts the lines that a full disk does not take, and writes the waiting ones when there is room again', () => {
    const mend = failing('ENOSPC');
    const destination = stdoutDestination(clock, onLost, fd);
    destination?.write(LINE);
    destination?.write(LINE);
    expect(lost).toBe(1);
    expect(clock.pending).toBe(1);

    clock.advance(RETRY);
    expect(clock.pending).toBe(1);
    mend();
    clock.advance(RETRY);
    expect(readFileSync(file, 'utf8')).toBe(LINE);
    expect(clock.pending).toBe(0);
  });

  test('keeps lines in one timer while a pipe is full', () => {
    const mend = failing('EAGAIN');
    const destination = stdoutDestination(clock, onLost, fd);
    destination?.write('one\n');
    destination?.write('two\n');
    expect(clock.pending).toBe(1);
    mend();
    clock.advance(RETRY);
    expect(readFileSync(file, 'utf8')).toBe('one\ntwo\n');
    expect(lost).toBe(0);
  });

  test('counts every line as lost once the reader of a pipe has gone, and never writes again', () => {
    const mend = failing('EPIPE');
    const destination = stdoutDestination(clock, onLost, fd);
    destination?.write('one\n');
    expect(clock.pending).toBe(0);
    mend();
    destination?.write('two\n');
    expect(lost).toBe(1);
    expect(readFileSync(file, 'utf8')).toBe('');
  });
});
