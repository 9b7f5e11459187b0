import { decodeLease, encodeLease, fieldsOf, nodesKey, type Lease } from '../../src/cluster/membership/lease.js';
import type { SendCommand } from '../../src/stores/redis.js';

const isLease = (text: string): boolean => /^\d+ /.test(text);

/** The leases that Redis has, those of nodes that have died included. */
export async function leasesIn(ask: SendCommand, prefix: string): Promise<Lease[]> {
  const fields = fieldsOf(await ask('HGETALL', nodesKey(prefix)));
  return [...fields.values()].filter(isLease).map(decodeLease);
}

/** A reply to HGETALL with other leases in it. Any other reply stays as it is. */
export function changeLeases(command: readonly string[], reply: unknown, change: (lease: Lease) => Lease): unknown {
  if (command[0] !== 'HGETALL') return reply;
  return [...fieldsOf(reply)].flatMap(([id, text]) =>
    isLease(text) ? [id, encodeLease(parseInt(text, 10), change(decodeLease(text)))] : [id, text],
  );
}

/** The lease of a node that is not there. */
export class GhostLease {
  readonly lease: Lease;
  readonly #ask: SendCommand;
  readonly #prefix: string;
  #counter = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ask: SendCommand, prefix: string, port: number, id = '00000000-0000-4000-8000-000000000000') {
    this.#ask = ask;
    this.#prefix = prefix;
    this.lease = { id, host: '127.0.0.1', port, proof: undefined, challenge: 'challenge', leaving: false };
  }

  async write(): Promise<void> {
    this.#counter += 1;
    await this.#ask('HSET', nodesKey(this.#prefix), this.lease.id, encodeLease(this.#counter, this.lease));
  }

  /** Renews it from now on, until it is stopped. */
  async live(): Promise<void> {
    await this.write();
    this.#timer = setInterval(() => void this.write().catch(() => undefined), 50);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
