import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { openSession, post, echoCall } from '../support/harness.js';
import { bundle } from '../support/program.js';

let file: string;
beforeAll(() => {
  file = bundle('__tests__/observe/full-disk-check.ts');
}, 60_000);

let child: ChildProcess | undefined;
afterEach(() => child?.kill('SIGKILL'));

async function start(stdout: number | 'pipe', handler: string): Promise<URL> {
  child = fork(file, [handler], { execArgv: [], stdio: ['ignore', stdout, 'inherit', 'ipc'] });
  child.stdout?.destroy();
  const [port] = (await once(child, 'message')) as [number];
  return new URL(`http://127.0.0.1:${port}/mcp`);
}

/** `/dev/full` answers each write with ENOSPC (full(4)). */
const SINKS: [name: string, open: () => number | 'pipe'][] = [
  ['a file on a full disk', () => openSync('/dev/full', 'w')],
  ['a pipe that nothing reads any more', () => 'pipe'],
];
const CASES = SINKS.flatMap(([name, open]) =>
  ['handled', 'unhandled'].map((handler) => [name, handler, open] as const),
);

test.each(CASES)(
  'with stdout %s and uncaught exceptions %s, the default logger counts its lines, the service goes on, and SIGTERM ends it',
  async (_name, handler, open) => {
    const url = await start(open(), handler);
    const session = await openSession(url);
    // More bytes than the logger keeps.
    const long = 'x'.repeat(40);
    for (let call = 0; call < 500; call += 1) {
      const response = await post(url, echoCall(call, long), { 'mcp-session-id': session });
      await response.text();
      expect(response.status).toBe(200);
    }
    const metrics = await (await fetch(`${url.href}/metrics`)).text();
    const [, lost] = /^mcp_log_lines_lost_total\{reason="unwritten"\} (\d+)$/m.exec(metrics) ?? [];
    expect(Number(lost)).toBeGreaterThan(0);
    const exited = once(child as ChildProcess, 'exit');
    child?.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  },
  120_000,
);
