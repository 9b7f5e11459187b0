import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EntryStore, type Entry } from '../../src/stores/entry-store.js';
import type { SessionStore } from '../../src/stores/index.js';
import type { FakeClock } from '../support/fake-clock.js';

export type Store = Required<SessionStore>;

const TTL = 60_000;

/** The right store, but for some of its methods. */
export const but =
  (wrong: (right: Store, clock: FakeClock) => Partial<Store>) =>
  (right: Store, clock: FakeClock): Store => ({
    create: (...args) => right.create(...args),
    get: (...args) => right.get(...args),
    update: (...args) => right.update(...args),
    destroy: (...args) => right.destroy(...args),
    claim: (...args) => right.claim(...args),
    touch: (...args) => right.touch(...args),
    release: (...args) => right.release(...args),
    remaining: (id) => right.remaining(id),
    ...wrong(right, clock),
  });

/** Puts a record with that owner and epoch in the place of whatever is there. */
async function put(right: Store, id: string, data: string, owner: string | undefined, epoch: number, ttl: number) {
  await right.destroy(id);
  await right.create(id, data, epoch === 0 ? owner : 'x', ttl);
  for (let each = 0; each < epoch; each += 1) {
    await right.claim(id, { owner: 'x', epoch: each }, each + 1 === epoch ? (owner ?? 'x') : 'x');
  }
  if (epoch > 0 && owner === undefined) await right.release(id, 'x', epoch);
}

/** A store that keeps each record under what `key` makes of its ID. */
const keyedBy = (key: (id: string) => string) =>
  but((right) => ({
    create: (id, ...args) => right.create(key(id), ...args),
    get: (id) => right.get(key(id)),
    update: (id, ...args) => right.update(key(id), ...args),
    destroy: (id, ...args) => right.destroy(key(id), ...args),
    claim: (id, ...args) => right.claim(key(id), ...args),
    touch: (id, ...args) => right.touch(key(id), ...args),
    release: (id, ...args) => right.release(key(id), ...args),
    remaining: (id) => right.remaining(key(id)),
  }));

/** A store that gives back what `change` makes of the data. */
const givingBack = (change: (data: string) => string) =>
  but((right) => ({
    get: async (id) => {
      const record = await right.get(id);
      return record && { ...record, data: change(record.data) };
    },
  }));

/** What is wrong with a store, the case that must find it, and the store. */
export const BROKEN: [what: string, found: string, open: (right: Store, clock: FakeClock) => SessionStore][] = [
  [
    'get makes a record of nothing',
    'has no record of an ID that was never created',
    but((right) => ({ get: async (id) => (await right.get(id)) ?? { data: '', epoch: 0, owner: undefined } })),
  ],
  [
    'update creates',
    'has no record of an ID that was never created',
    but((right) => ({
      update: async (id, epoch, ...args) =>
        (await right.create(id, args[0], undefined, args[1])) || right.update(id, epoch, ...args),
    })),
  ],
  [
    'touch says true of what is not there',
    'has no record of an ID that was never created',
    but((right) => ({
      touch: async (id, ...args) => (await right.touch(id, ...args)) || (await right.get(id)) === undefined,
    })),
  ],
  [
    'destroy says true of what is not there',
    'has no record of an ID that was never created',
    but((right) => ({ destroy: async (...args) => (await right.destroy(...args)) || true })),
  ],
  [
    'data is parsed and written anew',
    'gives back the very text that was created, in epoch 0',
    givingBack((data) => JSON.stringify(JSON.parse(data))),
  ],
  [
    'data is taken for Latin-1',
    'gives back the very text that was created, in epoch 0',
    givingBack((data) => Buffer.from(data, 'latin1').toString('latin1')),
  ],
  [
    'epochs begin at 1',
    'gives back the very text that was created, in epoch 0',
    but((right) => ({
      create: async (id, data, owner, ttl) =>
        (await right.create(id, data, 'x', ttl)) && right.claim(id, { owner: 'x', epoch: 0 }, owner ?? 'x'),
    })),
  ],
  [
    'no owner is an owner without a name',
    'gives back the very text that was created, in epoch 0',
    but((right) => ({ create: (id, data, owner, ttl) => right.create(id, data, owner ?? '', ttl) })),
  ],
  ['data is cut off', 'keeps 64 KiB whole', givingBack((data) => data.slice(0, 65_535))],
  ['IDs are cut off', 'keeps sessions apart, whatever their IDs', keyedBy((id) => id.slice(0, 127))],
  ['IDs lose their case', 'keeps sessions apart, whatever their IDs', keyedBy((id) => id.toLowerCase())],
  ['IDs lose a character', 'keeps sessions apart, whatever their IDs', keyedBy((id) => id.replace(/[*%]/, ''))],
  ['IDs are paths', 'keeps sessions apart, whatever their IDs', keyedBy((id) => posix.normalize(id))],
  [
    'IDs are object keys',
    'takes an ID that is a name of every object for one like any other',
    (_, clock) => {
      const entries: Record<string, Entry> = {};
      return new EntryStore(
        async (id, step) => {
          const next = step(entries[id]);
          if (next === undefined) Reflect.deleteProperty(entries, id);
          else entries[id] = next;
          return next;
        },
        () => clock.now(),
      );
    },
  ],
  [
    'create overwrites',
    'does not create over a record',
    but((right) => ({
      create: async (id, ...args) => {
        await right.destroy(id);
        return right.create(id, ...args);
      },
    })),
  ],
  [
    'create overwrites, and says that it did not',
    'does not create over a record',
    but((right) => ({
      create: async (id, ...args) => {
        const destroyed = await right.destroy(id);
        return (await right.create(id, ...args)) && !destroyed;
      },
    })),
  ],
  [
    'create looks first, and writes later',
    'lets one of many create a record',
    but((right) => ({
      create: async (id, data, owner, ttl) => {
        if ((await right.get(id)) !== undefined) return false;
        await sleep();
        await put(right, id, data, owner, 0, ttl);
        return true;
      },
    })),
  ],
  [
    'update loses the owner',
    'updates the data and nothing else',
    but((right) => ({
      update: async (id, epoch, ...args) => {
        const owner = (await right.get(id))?.owner;
        if (owner !== undefined) await right.release(id, owner, epoch);
        return right.update(id, epoch, ...args);
      },
    })),
  ],
  [
    'update begins a new epoch',
    'updates the data and nothing else',
    but((right) => ({
      update: async (id, epoch, ...args) => {
        if (!(await right.update(id, epoch, ...args))) return false;
        const owner = (await right.get(id))?.owner;
        return right.claim(id, { owner, epoch }, owner ?? 'x');
      },
    })),
  ],
  [
    'update ignores the epoch',
    'updates in the epoch of the record only',
    but((right) => ({
      update: async (id, _, ...args) => right.update(id, (await right.get(id))?.epoch ?? 0, ...args),
    })),
  ],
  [
    'update takes a later epoch too',
    'updates in the epoch of the record only',
    but((right) => ({
      update: async (id, epoch, ...args) =>
        right.update(id, Math.min(epoch, (await right.get(id))?.epoch ?? 0), ...args),
    })),
  ],
  [
    'update brings a destroyed record back',
    'never brings a destroyed record back',
    (right, clock) => {
      const destroyed = new Set<string>();
      return but(() => ({
        destroy: async (id, ...args) => {
          const done = await right.destroy(id, ...args);
          if (done) destroyed.add(id);
          return done;
        },
        update: async (id, epoch, ...args) => {
          if (destroyed.has(id)) await right.create(id, args[0], undefined, args[1]);
          return right.update(id, epoch, ...args);
        },
      }))(right, clock);
    },
  ],
  [
    'destroy leaves a tombstone that lets nobody in',
    'never brings a destroyed record back',
    (right, clock) => {
      const destroyed = new Set<string>();
      return but(() => ({
        destroy: async (id, ...args) => {
          const done = await right.destroy(id, ...args);
          if (done) destroyed.add(id);
          return done;
        },
        create: async (id, ...args) => !destroyed.has(id) && right.create(id, ...args),
      }))(right, clock);
    },
  ],
  [
    'update reads first, and writes later',
    'destroys for good while updates are under way',
    but((right) => ({
      update: async (id, epoch, data, ttl) => {
        const record = await right.get(id);
        if (record?.epoch !== epoch) return false;
        await sleep();
        await put(right, id, data, record.owner, epoch, ttl);
        return true;
      },
    })),
  ],
  [
    'destroy ignores the epoch',
    'destroys in the epoch that is given only',
    but((right) => ({ destroy: (id) => right.destroy(id) })),
  ],
  [
    'destroy takes epoch 0 for none',
    'destroys in the epoch that is given only',
    but((right) => ({ destroy: (id, epoch) => (epoch === 0 ? right.destroy(id) : right.destroy(id, epoch)) })),
  ],
  [
    'destroy takes none for epoch 0',
    'destroys in every epoch when none is given',
    but((right) => ({ destroy: (id, epoch) => right.destroy(id, epoch ?? 0) })),
  ],
  [
    'destroy looks first, and destroys later',
    'says to one of many that it destroyed the record',
    but((right) => ({
      destroy: async (id, epoch) => {
        const record = await right.get(id);
        if (record === undefined || (epoch !== undefined && record.epoch !== epoch)) return false;
        await sleep();
        await right.destroy(id);
        return true;
      },
    })),
  ],
  [
    'claim ignores the epoch',
    'lets a session be claimed by who knows its owner and epoch',
    but((right) => ({
      claim: async (id, { owner: old }, owner) =>
        right.claim(id, { owner: old, epoch: (await right.get(id))?.epoch ?? 0 }, owner),
    })),
  ],
  [
    'claim ignores the owner',
    'lets a session be claimed by who knows its owner and epoch',
    but((right) => ({
      claim: async (id, { epoch }, owner) => right.claim(id, { epoch, owner: (await right.get(id))?.owner }, owner),
    })),
  ],
  [
    'claim lets everyone have what nobody holds',
    'lets a session be claimed by who knows its owner and epoch',
    but((right) => ({
      claim: async (id, { epoch, owner: old }, owner) =>
        right.claim(id, { epoch, owner: (await right.get(id))?.owner === undefined ? undefined : old }, owner),
    })),
  ],
  [
    'claim lets those who expect nobody have what someone holds',
    'lets a session be claimed by who knows its owner and epoch',
    but((right) => ({
      claim: async (id, { epoch, owner: old }, owner) =>
        right.claim(id, { epoch, owner: old ?? (await right.get(id))?.owner }, owner),
    })),
  ],
  [
    'claim by the owner begins no new epoch',
    'lets a session be claimed by who knows its owner and epoch',
    but((right) => ({
      claim: async (id, expected, owner) => {
        const record = await right.get(id);
        if (record?.owner === owner) return record.epoch === expected.epoch && expected.owner === owner;
        return right.claim(id, expected, owner);
      },
    })),
  ],
  [
    'claim looks first, and writes later',
    'lets one of many claim a session',
    but((right) => ({
      claim: async (id, expected, owner) => {
        const record = await right.get(id);
        if (record?.epoch !== expected.epoch || record.owner !== expected.owner) return false;
        await sleep();
        await put(right, id, record.data, owner, record.epoch + 1, TTL);
        return true;
      },
    })),
  ],
  [
    'release ignores the epoch',
    'releases for its owner only, in the epoch in which it holds the session',
    but((right) => ({ release: async (id, owner) => right.release(id, owner, (await right.get(id))?.epoch ?? 0) })),
  ],
  [
    'release ignores the owner',
    'releases for its owner only, in the epoch in which it holds the session',
    but((right) => ({
      release: async (id, owner, epoch) => right.release(id, (await right.get(id))?.owner ?? owner, epoch),
    })),
  ],
  [
    'release says that it did, and did not',
    'releases for its owner only, in the epoch in which it holds the session',
    but((right) => ({
      release: async (id, owner, epoch) => {
        const record = await right.get(id);
        return record?.owner === owner && record.epoch === epoch;
      },
    })),
  ],
  [
    'records live for ever',
    'lets a record go when its time is over',
    but((right) => ({ create: (id, data, owner) => right.create(id, data, owner, 2 ** 40) })),
  ],
  [
    'get forgets the ttl',
    'lets a record go when its time is over',
    (right, clock) => {
      const last = new Map<string, Awaited<ReturnType<Store['get']>>>();
      return but(() => ({
        get: async (id) => {
          const record = (await right.get(id)) ?? last.get(id);
          last.set(id, record);
          return record;
        },
        create: async (id, data, owner, ttl) => {
          const done = await right.create(id, data, owner, ttl);
          if (done) last.set(id, { data, owner, epoch: 0 });
          return done;
        },
        destroy: async (id, epoch) => {
          last.delete(id);
          return right.destroy(id, epoch);
        },
      }))(right, clock);
    },
  ],
  [
    'one record that is over takes the others along',
    'lets a record go when its time is over',
    (right, clock) => {
      const ids = new Set<string>();
      return but(() => ({
        create: (id, ...args) => {
          ids.add(id);
          return right.create(id, ...args);
        },
        get: async (id) => {
          const record = await right.get(id);
          if (record === undefined && ids.has(id)) for (const each of ids) await right.destroy(each);
          return record;
        },
      }))(right, clock);
    },
  ],
  [
    'update leaves the time as it is',
    'counts the time anew with an update',
    but((right) => ({
      update: async (id, epoch) => {
        const record = await right.get(id);
        return record?.epoch === epoch;
      },
    })),
  ],
  [
    'update never shortens the time',
    'counts the time anew with an update',
    but((right) => ({ update: (id, epoch, data, ttl) => right.update(id, epoch, data, Math.max(ttl, 1_000)) })),
  ],
  [
    'remaining tells of what is not there',
    'has no record of an ID that was never created',
    but((right) => ({ remaining: async (id) => (await right.remaining(id)) ?? 0 })),
  ],
  [
    'remaining tells when the time is over, in place of how much there is',
    'tells how long a record lives on, which changes nothing',
    but((right, clock) => ({
      remaining: async (id) => {
        const ms = await right.remaining(id);
        return ms && ms + clock.now() + TTL;
      },
    })),
  ],
  [
    'remaining tells seconds',
    'tells how long a record lives on, which changes nothing',
    but((right) => ({
      remaining: async (id) => {
        const ms = await right.remaining(id);
        return ms && ms / 1_000;
      },
    })),
  ],
  [
    'touch does nothing',
    'counts the time anew with a touch, which changes nothing else',
    but((right) => ({ touch: async (id, epoch) => (await right.get(id))?.epoch === epoch })),
  ],
  [
    'touch never shortens the time',
    'counts the time anew with a touch, which changes nothing else',
    but((right) => ({ touch: (id, epoch, ttl) => right.touch(id, epoch, Math.max(ttl, 1_000)) })),
  ],
  [
    'touch loses the owner',
    'counts the time anew with a touch, which changes nothing else',
    but((right) => ({
      touch: async (id, epoch, ttl) => {
        const owner = (await right.get(id))?.owner;
        if (owner !== undefined) await right.release(id, owner, epoch);
        return right.touch(id, epoch, ttl);
      },
    })),
  ],
  [
    'touch ignores the epoch',
    'touches in the epoch of the record only',
    but((right) => ({ touch: async (id, _, ttl) => right.touch(id, (await right.get(id))?.epoch ?? 0, ttl) })),
  ],
  [
    'touch in an earlier epoch says that it did nothing, and did',
    'touches in the epoch of the record only',
    but((right) => ({
      touch: async (id, epoch, ttl) => {
        const now = (await right.get(id))?.epoch ?? 0;
        return (await right.touch(id, now, ttl)) && now === epoch;
      },
    })),
  ],
  [
    'get counts the time anew',
    'leaves the time alone when a record is read, claimed or released',
    but((right) => ({
      get: async (id) => {
        const record = await right.get(id);
        if (record !== undefined) await right.touch(id, record.epoch, TTL);
        return record;
      },
    })),
  ],
  [
    'claim forgets the ttl',
    'leaves the time alone when a record is read, claimed or released',
    but((right) => ({
      claim: async (id, expected, owner) =>
        (await right.claim(id, expected, owner)) && right.touch(id, expected.epoch + 1, TTL),
    })),
  ],
  [
    'claim ends the time',
    'leaves the time alone when a record is read, claimed or released',
    but((right) => ({
      claim: async (id, expected, owner) =>
        (await right.claim(id, expected, owner)) && (owner !== 'b' || right.touch(id, expected.epoch + 1, 0)),
    })),
  ],
  [
    'release forgets the ttl',
    'leaves the time alone when a record is read, claimed or released',
    but((right) => ({
      release: async (id, owner, epoch) => (await right.release(id, owner, epoch)) && right.touch(id, epoch, TTL),
    })),
  ],
];
