import { spawn } from 'node:child_process';

/** Has a process end with this one, however this one ends, and its folder go; gives what calls that off. */
export function killWithThisProcess(pid: number, folder = ''): () => void {
  const watchdog = spawn('sh', ['-c', 'read -r _; kill -9 "$0"; rm -rf "$1"', String(pid), folder], {
    // Ctrl-C is for the whole group, which this must outlive.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watchdog.unref();
  return () => void watchdog.kill('SIGKILL');
}
