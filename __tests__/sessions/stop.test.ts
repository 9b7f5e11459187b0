import { execFile } from 'node:child_process';
import { bundle } from '../support/program.js';

test('close(), drain(), context.state.set() and the closing of sessions settle, although user code hangs and no socket keeps the process alive', async () => {
  const file = bundle('__tests__/sessions/stop-check.ts');
  // A process of its own, as jest's own handles would keep it alive.
  const { code, stdout, stderr } = await new Promise<{ code: number | null; stdout: string; stderr: string }>(
    (resolve) => {
      const child = execFile(process.execPath, [file], { timeout: 500_000 }, (_error, out, err) =>
        resolve({ code: child.exitCode, stdout: out, stderr: err }),
      );
    },
  );
  expect({ code, lines: stdout.trim().split('\n'), stderr }).toEqual({
    code: 0,
    lines: [
      'close',
      'drain',
      'drain, a handler hangs',
      'close, a handler hangs',
      'drain, a stateless handler hangs',
      'close, the session store hangs',
      'close, Redis hangs',
      'drain, Redis hangs',
      'close after a session whose events cannot be purged',
      'state.set, the session store hangs',
      'sessions.close',
      'sessions.closeByPrincipal',
      'the end',
    ],
    stderr: '',
  });
}, 600_000);
