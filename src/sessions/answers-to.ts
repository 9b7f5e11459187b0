import type { StoredRecord } from '../stores/session-store.js';
import { decodeRecord } from './records/record-format.js';

/** Whether a session of `owner` answers to `caller`; undefined stands for no principal. */
export type AnswersTo = (owner: string | undefined, caller: string | undefined) => boolean;

/** A session answers to its own principal. With `adoptAnonymous`, one without a principal answers to any, until one adopts it. */
export function createAnswersTo(adoptAnonymous: boolean): AnswersTo {
  return (owner, caller) => owner === caller || (adoptAnonymous && owner === undefined);
}

/** Whether a session may answer to the caller, by its record. True for an unreadable record: its owner decides. */
export function mayAnswer(
  { data }: StoredRecord,
  id: string | undefined,
  caller: string | undefined,
  answersTo: AnswersTo,
): boolean {
  try {
    return id !== undefined && answersTo(decodeRecord(data, id).principal, caller);
  } catch {
    return true;
  }
}
