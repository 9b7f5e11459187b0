import type { Lease } from './lease.js';

/** The private listener cannot bind its port, or this process does not answer at the address that it advertises. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

export function cannotListen(host: string, port: number, cause: NodeJS.ErrnoException): Unreachable {
  const where = `this node cannot listen for other nodes on port ${port} of ${host}`;
  if (cause.code !== 'EADDRINUSE') return new Unreachable(`${where}: ${cause.message}`, { cause });
  return new Unreachable(
    `${where}: it is taken. Each process of a machine needs a cluster.port of its own, or 0 for one that is free`,
    { cause },
  );
}

/** @param refusal - The reason for which the process at this address refused the probe. Undefined when no node answered. */
export function notReached({ host, port }: Lease, refusal: string | undefined): Unreachable {
  const found =
    refusal === undefined ? 'nothing that is a node answers there' : `another process answers there (${refusal})`;
  return new Unreachable(
    `this node does not reach itself at ${host}:${port}, which it tells other nodes: ${found}. Are the options cluster.host, ` +
      'cluster.port and cluster.advertise right, and is the port open to this machine itself?',
  );
}
