import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionStore, StoredRecord } from '../../src/stores/index.js';
import type { FakeClock } from '../support/fake-clock.js';

type Entry = StoredRecord & { readonly dueAt: number };

const TTL = 60_000;

const ABSENT = 'has no record of an ID that was never created';
const TEXT = 'returns exactly the text that was created, in epoch 0';
const APART = 'keeps sessions apart, whatever their IDs';
const CLAIM = 'lets a session be claimed only with its current owner and epoch';
const RELEASE = 'releases a session only for its owner, in the current epoch';
const EXPIRY = 'drops a record after its ttl';
const REMAINING = 'returns the remaining time of a record without changing it';
const TOUCH = 'restarts the ttl with a touch, which changes nothing else';
const TIME = 'does not restart the ttl when a record is read, claimed or released';

/** Each flaw that a store can have, and the case of the contract that must find it. */
export const FLAWS = [
  ['get returns a record for an unknown ID', ABSENT],
  ['update creates a record', ABSENT],
  ['touch returns true for an unknown ID', ABSENT],
  ['destroy returns true for an unknown ID', ABSENT],
  ['remaining returns 0 for an unknown ID', ABSENT],
  ['data is parsed and serialized again', TEXT],
  ['data is read as Latin-1', TEXT],
  ['epochs begin at 1', TEXT],
  ['a missing owner becomes an empty name', TEXT],
  ['data is cut to 65,535 characters', 'keeps 64 KiB whole'],
  ['IDs are cut to 127 characters', APART],
  ['IDs are compared without case', APART],
  ['IDs lose * and %', APART],
  ['IDs are normalized as paths', APART],
  ['IDs are keys of an object', 'accepts IDs that are names of properties of every object'],
  ['create overwrites a record', 'does not create over a record'],
  ['create overwrites a record, and returns false', 'does not create over a record'],
  ['create is not atomic', 'lets only one of many creates succeed'],
  ['update drops the owner', 'updates the data and nothing else'],
  ['update begins an epoch', 'updates the data and nothing else'],
  ['update ignores the epoch', 'updates only in the epoch of the record'],
  ['update accepts a later epoch', 'updates only in the epoch of the record'],
  ['update brings a destroyed record back', 'never brings a destroyed record back'],
  ['create refuses the ID of a destroyed record', 'never brings a destroyed record back'],
  ['update is not atomic', 'destroys a record for good while updates are in progress'],
  ['destroy ignores the epoch', 'destroys only in the given epoch'],
  ['destroy takes epoch 0 for none', 'destroys only in the given epoch'],
  ['destroy takes no epoch for epoch 0', 'destroys in every epoch when none is given'],
  ['destroy is not atomic', 'lets only one of many destroys succeed'],
  ['claim ignores the epoch', CLAIM],
  ['claim ignores the owner', CLAIM],
  ['claim of a record without an owner ignores the expected owner', CLAIM],
  ['claim that expects no owner ignores the owner', CLAIM],
  ['claim by the owner begins no epoch', CLAIM],
  ['claim is not atomic', 'lets only one of many claims succeed'],
  ['release ignores the epoch', RELEASE],
  ['release ignores the owner', RELEASE],
  ['release returns true, and does nothing', RELEASE],
  ['create ignores the ttl', EXPIRY],
  ['get returns expired records', EXPIRY],
  ['an expired record removes the others', EXPIRY],
  ['update ignores the ttl', 'restarts the ttl with an update'],
  ['update never shortens the time', 'restarts the ttl with an update'],
  ['remaining returns the end of the time', REMAINING],
  ['remaining counts in seconds', REMAINING],
  ['touch ignores the ttl', TOUCH],
  ['touch never shortens the time', TOUCH],
  ['touch drops the owner', TOUCH],
  ['touch ignores the epoch', 'touches only in the epoch of the record'],
  ['touch in another epoch returns false, and has effect', 'touches only in the epoch of the record'],
  ['get counts the time anew', TIME],
  ['claim counts the time anew', TIME],
  ['claim ends the time', TIME],
  ['release counts the time anew', TIME],
] as const;

export type Flaw = (typeof FLAWS)[number][0];

/** A store in memory that keeps the contract, except for the flaw if there is one. Its methods need no `this`. */
export function flawedStore(clock: FakeClock, flaw?: Flaw): Required<SessionStore> {
  const has = (each: Flaw) => each === flaw;
  const now = () => clock.now();
  const due = (ttl: number) => now() + ttl;
  // Without a prototype an object has no keys but its own.
  const entries = (has('IDs are keys of an object') ? {} : Object.create(null)) as Record<string, Entry>;
  const destroyed = new Set<string>();

  const key = (id: string) => {
    if (has('IDs are cut to 127 characters')) return id.slice(0, 127);
    if (has('IDs are compared without case')) return id.toLowerCase();
    if (has('IDs lose * and %')) return id.replace(/[*%]/, '');
    return has('IDs are normalized as paths') ? posix.normalize(id) : id;
  };
  const dataOf = ({ data }: Entry) => {
    if (has('data is parsed and serialized again')) return JSON.stringify(JSON.parse(data));
    if (has('data is read as Latin-1')) return Buffer.from(data, 'latin1').toString('latin1');
    return has('data is cut to 65,535 characters') ? data.slice(0, 65_535) : data;
  };
  const isLive = (entry: Entry | undefined) => entry !== undefined && entry.dueAt > now();
  const find = (id: string) => {
    const entry = entries[key(id)];
    return isLive(entry) ? entry : undefined;
  };
  const put = (id: string, entry: Entry) => {
    entries[key(id)] = entry;
    return true;
  };

  return {
    async create(id, data, owner, ttl) {
      const dueAt = has('create ignores the ttl') ? Infinity : due(ttl);
      const name = has('a missing owner becomes an empty name') ? (owner ?? '') : owner;
      const entry = { data, epoch: has('epochs begin at 1') ? 1 : 0, owner: name, dueAt };
      if (has('create refuses the ID of a destroyed record') && destroyed.has(id)) return false;
      if (find(id) !== undefined) {
        if (has('create overwrites a record, and returns false')) put(id, entry);
        return has('create overwrites a record') && put(id, entry);
      }
      if (has('create is not atomic')) await sleep();
      return put(id, entry);
    },

    async get(id) {
      const stored = entries[key(id)];
      if (stored !== undefined && !isLive(stored) && has('an expired record removes the others')) {
        for (const each of Object.keys(entries)) Reflect.deleteProperty(entries, each);
      }
      const entry = has('get returns expired records') ? stored : find(id);
      if (entry === undefined) {
        return has('get returns a record for an unknown ID') ? { data: '', epoch: 0, owner: undefined } : undefined;
      }
      if (has('get counts the time anew')) put(id, { ...entry, dueAt: due(TTL) });
      return { data: dataOf(entry), epoch: entry.epoch, owner: entry.owner };
    },

    async update(id, epoch, data, ttl) {
      const creates =
        has('update creates a record') || (has('update brings a destroyed record back') && destroyed.has(id));
      const entry = find(id) ?? (creates ? { data, epoch, owner: undefined, dueAt: 0 } : undefined);
      if (entry === undefined) return false;
      const isLater = has('update accepts a later epoch') && epoch > entry.epoch;
      if (epoch !== entry.epoch && !isLater && !has('update ignores the epoch')) return false;
      if (has('update is not atomic')) await sleep();
      const dueAt = has('update never shortens the time') ? Math.max(entry.dueAt, due(ttl)) : due(ttl);
      return put(id, {
        data,
        epoch: has('update begins an epoch') ? entry.epoch + 1 : entry.epoch,
        owner: has('update drops the owner') ? undefined : entry.owner,
        dueAt: has('update ignores the ttl') ? entry.dueAt : dueAt,
      });
    },

    async destroy(id, epoch) {
      const entry = find(id);
      if (entry === undefined) return has('destroy returns true for an unknown ID');
      const isAny = epoch === undefined ? !has('destroy takes no epoch for epoch 0') : has('destroy ignores the epoch');
      const isNone = epoch === 0 && has('destroy takes epoch 0 for none');
      if (!isAny && !isNone && entry.epoch !== (epoch ?? 0)) return false;
      if (has('destroy is not atomic')) await sleep();
      destroyed.add(id);
      return Reflect.deleteProperty(entries, key(id));
    },

    async claim(id, expected, owner) {
      const entry = find(id);
      if (entry === undefined) return false;
      if (entry.epoch !== expected.epoch && !has('claim ignores the epoch')) return false;
      const ignoresOwner =
        has('claim ignores the owner') ||
        (entry.owner === undefined && has('claim of a record without an owner ignores the expected owner')) ||
        (expected.owner === undefined && has('claim that expects no owner ignores the owner'));
      if (entry.owner !== expected.owner && !ignoresOwner) return false;
      if (has('claim is not atomic')) await sleep();
      const keepsEpoch = entry.owner === owner && has('claim by the owner begins no epoch');
      const dueAt = has('claim counts the time anew') ? due(TTL) : entry.dueAt;
      return put(id, {
        ...entry,
        owner,
        epoch: keepsEpoch ? entry.epoch : entry.epoch + 1,
        dueAt: has('claim ends the time') ? now() : dueAt,
      });
    },

    async touch(id, epoch, ttl) {
      const entry = find(id);
      if (entry === undefined) return has('touch returns true for an unknown ID');
      const acts = has('touch in another epoch returns false, and has effect');
      if (entry.epoch !== epoch && !acts && !has('touch ignores the epoch')) return false;
      const dueAt = has('touch never shortens the time') ? Math.max(entry.dueAt, due(ttl)) : due(ttl);
      put(id, {
        ...entry,
        owner: has('touch drops the owner') ? undefined : entry.owner,
        dueAt: has('touch ignores the ttl') ? entry.dueAt : dueAt,
      });
      return !acts || entry.epoch === epoch;
    },

    async release(id, owner, epoch) {
      const entry = find(id);
      if (entry === undefined) return false;
      if (entry.epoch !== epoch && !has('release ignores the epoch')) return false;
      if (entry.owner !== owner && !has('release ignores the owner')) return false;
      if (has('release returns true, and does nothing')) return true;
      return put(id, {
        ...entry,
        owner: undefined,
        dueAt: has('release counts the time anew') ? due(TTL) : entry.dueAt,
      });
    },

    async remaining(id) {
      const entry = find(id);
      if (entry === undefined) return has('remaining returns 0 for an unknown ID') ? 0 : undefined;
      if (has('remaining returns the end of the time')) return entry.dueAt + TTL;
      return (entry.dueAt - now()) / (has('remaining counts in seconds') ? 1_000 : 1);
    },
  };
}
