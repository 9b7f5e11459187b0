import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Identifies the process of a node, so that nodes on the same machine can check whether it still exists. */
export interface ProcessProof {
  /** Processes with the same value see each other's process IDs. */
  readonly machine: string;
  readonly pid: number;
  /** Process IDs are used again; with the time of its start one is unique until the machine starts anew. */
  readonly startedAt: string;
}

/** Undefined where the system has no /proc (anything but Linux): the lease alone tells then whether a node lives. */
export function ownProof(): ProcessProof | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const namespace = readlinkSync('/proc/self/ns/pid');
    const { pid, startedAt } = statOf('self');
    // A /proc of another namespace (`unshare --pid` without a mount of its own) tells of other processes.
    if (pid !== process.pid) return undefined;
    const machine = createHash('sha256')
      .update(JSON.stringify([hostname(), boot, namespace]))
      .digest('hex')
      .slice(0, 32);
    return { machine, pid, startedAt };
  } catch {
    return undefined;
  }
}

/** Whether the process is proved to exist no more. False wherever it cannot be seen from here. */
export function isGone(proof: ProcessProof, own: ProcessProof): boolean {
  if (proof.machine !== own.machine) return false;
  try {
    const { state, startedAt } = statOf(proof.pid);
    // A zombie is only the number of a process that has ended, and whose parent has not asked how.
    return startedAt !== proof.startedAt || state === 'Z' || state === 'X';
  } catch (error) {
    return codeOf(error) === 'ENOENT' && !answersSignals(proof.pid);
  }
}

/** Mounted with `hidepid`, /proc does not show the processes of other users at all; the kernel refuses to signal them. */
function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** See proc(5), /proc/[pid]/stat: the second field is the program's name in parentheses, and may hold any character. */
function statOf(process: number | 'self'): { pid: number; state: string; startedAt: string } {
  const stat = readFileSync(`/proc/${process}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startedAt] = [fields[0], fields[19]];
  if (state === undefined || startedAt === undefined) throw new Error('/proc/[pid]/stat has too few fields');
  return { pid: parseInt(stat, 10), state, startedAt };
}
