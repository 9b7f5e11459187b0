import { notAReply, type SendCommand } from '../../stores/redis-client.js';
import { nodesKey } from './lease.js';

/** Nodes of version 0.1 are members of this cluster. They keep their leases in another way, and would not see this node's. */
export class EarlierVersion extends Error {
  override readonly name = 'EarlierVersion';
}

/** Whether Redis refused a command because the key of the nodes is a set, as earlier versions have it. */
export const isOfEarlierVersion = (error: unknown): boolean => String(error).includes('WRONGTYPE');

/**
 * Takes the IDs of dead nodes out of the set that earlier versions keep. Redis removes an empty set.
 *
 * A node of an earlier version that joins meanwhile adds its ID, so the set stays. Without a set, it cannot add its ID to this
 * version's hash, and does not join.
 *
 * @throws EarlierVersion when one of the nodes has a lease.
 */
export async function removeEarlierVersion(send: SendCommand, prefix: string): Promise<void> {
  const ids = await send('SMEMBERS', nodesKey(prefix));
  if (!Array.isArray(ids)) throw notAReply(ids);
  const alive: string[] = [];
  for (const id of ids.map(String)) {
    if (String(await send('EXISTS', `${prefix}node:${id}`)) === '1') alive.push(id);
    else await send('SREM', nodesKey(prefix), id);
  }
  if (alive.length === 0) return;
  throw new EarlierVersion(
    `nodes of an earlier version of express-mcp-router have leases (${alive.join(', ')}). They cannot share sessions with this node: ` +
      'stop all nodes of the earlier version before you start this one. Their sessions are kept.',
  );
}
