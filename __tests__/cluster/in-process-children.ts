import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../support/waiting.js';

/** proc(5): the 22nd field, counted from behind the name, which may hold any character. */
export function startOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!;
}

export function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[0]!;
}

/** Processes of a test, which end with it. */
export class Children {
  readonly #children: ChildProcess[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'children-'));

  /** One that does nothing, under a name. */
  async sleeper(name = 'sleeper'): Promise<number> {
    const path = join(this.#folder, name);
    copyFileSync('/bin/sleep', path);
    const child = spawn(path, ['60'], { stdio: 'ignore' });
    this.#children.push(child);
    await once(child, 'spawn');
    await until('it runs under its own name', () =>
      readFileSync(`/proc/${child.pid!}/stat`, 'utf8').includes(name.slice(0, 15)),
    );
    return child.pid!;
  }

  /** A child that has ended before its parent reads the exit status. */
  async zombie(): Promise<{ pid: number; startedAt: string }> {
    const child = spawn('sh', ['-c', "sh -c 'echo $$; read -r _' & exec sleep 60"], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#children.push(child);
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const pid = Number(said.toString());
    // Before it ends, while there is no doubt about it.
    const startedAt = startOf(pid);
    process.kill(pid, 'SIGKILL');
    await until('it is a zombie', () => stateOf(pid) === 'Z');
    return { pid, startedAt };
  }

  /** By SIGKILL; resolves when nothing is left of it. */
  async kill(pid: number): Promise<void> {
    const child = this.#children.find((each) => each.pid === pid)!;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  clear(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
