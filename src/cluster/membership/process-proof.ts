import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Identifies the process of a node, so that nodes on the same machine can check whether it still exists. */
export interface ProcessProof {
  /** Processes with the same value can see each other, and read the same process IDs and start times. */
  readonly machine: string;
  readonly pid: number;
  /** The system reuses process IDs. Together with its start time, one is unique until the machine restarts. */
  readonly startedAt: string;
}

/** The proof of this process. Undefined on a system without /proc (not Linux). Only the lease shows whether a node lives then. */
export function ownProof(): ProcessProof | undefined {
  try {
    if (!showsOwnNamespace()) return undefined;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // Containers may share a host name, and always share the boot ID of their machine.
    const namespaces = [readlinkSync('/proc/self/ns/pid'), timeNamespace()];
    const machine = createHash('sha256')
      .update(JSON.stringify([hostname(), boot, ...namespaces]))
      .digest('hex')
      .slice(0, 32);
    return { machine, pid: process.pid, startedAt: statOf('self').startedAt };
  } catch {
    return undefined;
  }
}

/** Whether the process is proved to have ended. False when this process cannot see it. */
export function isGone(proof: ProcessProof, own: ProcessProof): boolean {
  if (proof.machine !== own.machine) return false;
  try {
    const { state, startedAt } = statOf(proof.pid);
    // A zombie has ended. Its process ID stays until its parent reads the exit status.
    return startedAt !== proof.startedAt || state === 'Z' || state === 'X';
  } catch (error) {
    return codeOf(error) === 'ENOENT' && !answersSignals(proof.pid);
  }
}

/**
 * Whether /proc shows the processes of this process's own PID namespace. That of another one (`unshare --pid` without its own
 * mount) shows other processes under the same IDs. See proc(5): `NSpid` lists the process's IDs from the namespace of this /proc
 * to its own, so there is one where both are the same. A system that imitates Linux may not have the line.
 */
function showsOwnNamespace(): boolean {
  const ids = /^NSpid:(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return ids.trim() === String(process.pid);
}

/** Start times are read in the time namespace of the reader (time_namespaces(7)). Linux has them from version 5.6 on. */
function timeNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/time');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'none';
    throw error;
  }
}

/**
 * Whether the process exists, by signal 0. Mounted with `hidepid`, /proc does not show the processes of other users. The kernel
 * refuses to signal them with another error than ESRCH.
 */
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

/** See proc(5), /proc/[pid]/stat. The second field is the program's name in parentheses, which may contain any character. */
function statOf(process: number | 'self'): { state: string; startedAt: string } {
  const stat = readFileSync(`/proc/${process}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startedAt] = [fields[0], fields[19]];
  if (state === undefined || startedAt === undefined) throw new Error('/proc/[pid]/stat has too few fields');
  return { state, startedAt };
}
