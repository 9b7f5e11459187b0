import type { StoredRecord } from '../stores/session-store.js';
import { decodeRecord } from './records/record-format.js';

/** Whether `caller` may use a session of `owner`. Undefined stands for no principal. */
export type MayUse = (owner: string | undefined, caller: string | undefined) => boolean;

/**
 * Makes the check. A session answers to its own principal. With `adoptAnonymous`, a session without a principal also answers to
 * every principal, until one adopts it.
 */
export function accessRule(adoptAnonymous: boolean): MayUse {
  return (owner, caller) => owner === caller || (adoptAnonymous && owner === undefined);
}

/** Whether the caller may use the session of a record. True for an unreadable record, as the session's owner then decides. */
export function mayUseRecord(
  { data }: StoredRecord,
  id: string | undefined,
  caller: string | undefined,
  mayUse: MayUse,
): boolean {
  try {
    return id !== undefined && mayUse(decodeRecord(data, id).principal, caller);
  } catch {
    return true;
  }
}
