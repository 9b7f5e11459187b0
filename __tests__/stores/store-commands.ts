import fc from 'fast-check';
import type { SessionStore, StoredRecord } from '../../src/stores/index.js';

// Few of each, so that what was done before is met again.
const IDS = ['a', '__proto__', 'mcp-session:a'];
const OWNERS = ['x', 'y', ''];
/** In ms. Keyv has a clock of its own, by which a little time goes by. */
const MINUTE = 60_000;

/** What is held, and until when: all that a store has to know. */
export interface Model {
  now: number;
  readonly records: Map<string, { data: string; epoch: number; owner: string | undefined; dueAt: number }>;
}

export interface Real {
  readonly store: Required<SessionStore>;
  readonly advance: (ms: number) => void;
}

type Command = fc.AsyncCommand<Model, Real>;

function live(model: Model, id: string) {
  const record = model.records.get(id);
  return record !== undefined && record.dueAt > model.now ? record : undefined;
}

/** What get must give. */
function seen(model: Model, id: string): StoredRecord | undefined {
  const record = live(model, id);
  return record && { data: record.data, epoch: record.epoch, owner: record.owner };
}

/** One operation on the model and on the store: the answers and all records must be the same. */
const command = (
  name: string,
  id: string,
  expected: (model: Model) => boolean,
  actual: (store: Real['store']) => Promise<boolean>,
): Command => ({
  check: () => true,
  async run(model, { store }) {
    const answer = expected(model);
    expect(await actual(store)).toBe(answer);
    for (const each of IDS) expect(await store.get(each)).toEqual(seen(model, each));
  },
  toString: () => `${name} ${JSON.stringify(id)}`,
});

/** The record with that ID, if it is in that epoch. */
function inEpoch(model: Model, id: string, epoch: number) {
  const record = live(model, id);
  return record?.epoch === epoch ? record : undefined;
}

const advance = (ms: number): Command => ({
  check: () => true,
  async run(model, real) {
    model.now += ms;
    real.advance(ms);
    for (const id of IDS) expect(await real.store.get(id)).toEqual(seen(model, id));
  },
  toString: () => `advance ${ms}`,
});

const id = fc.constantFrom(...IDS);
const owner = fc.constantFrom(...OWNERS);
const maybeOwner = fc.constantFrom(undefined, ...OWNERS);
const epoch = fc.nat(3);
const ttl = fc.integer({ min: 1, max: 20 }).map((minutes) => minutes * MINUTE);
const data = fc.json();

/** Every operation of a session store, and time that goes by. */
export const commands = fc.commands(
  [
    fc.tuple(id, data, maybeOwner, ttl).map(([on, ...args]) =>
      command(
        `create ${JSON.stringify(args)}`,
        on,
        (model) => {
          if (live(model, on) !== undefined) return false;
          model.records.set(on, { data: args[0], epoch: 0, owner: args[1], dueAt: model.now + args[2] });
          return true;
        },
        (store) => store.create(on, ...args),
      ),
    ),
    fc.tuple(id, epoch, data, ttl).map(([on, ...args]) =>
      command(
        `update ${JSON.stringify(args)}`,
        on,
        (model) => {
          const record = inEpoch(model, on, args[0]);
          if (record !== undefined) Object.assign(record, { data: args[1], dueAt: model.now + args[2] });
          return record !== undefined;
        },
        (store) => store.update(on, ...args),
      ),
    ),
    fc.tuple(id, fc.option(epoch, { nil: undefined, freq: 2 })).map(([on, given]) =>
      command(
        `destroy in ${given}`,
        on,
        (model) => {
          const record = given === undefined ? live(model, on) : inEpoch(model, on, given);
          return record !== undefined && model.records.delete(on);
        },
        (store) => store.destroy(on, given),
      ),
    ),
    fc.tuple(id, fc.record({ owner: maybeOwner, epoch }), owner).map(([on, expected, by]) =>
      command(
        `claim ${JSON.stringify(expected)} by ${by}`,
        on,
        (model) => {
          const record = inEpoch(model, on, expected.epoch);
          if (record === undefined || record.owner !== expected.owner) return false;
          Object.assign(record, { owner: by, epoch: record.epoch + 1 });
          return true;
        },
        (store) => store.claim(on, expected, by),
      ),
    ),
    fc.tuple(id, epoch, ttl).map(([on, ...args]) =>
      command(
        `touch ${JSON.stringify(args)}`,
        on,
        (model) => {
          const record = inEpoch(model, on, args[0]);
          if (record !== undefined) record.dueAt = model.now + args[1];
          return record !== undefined;
        },
        (store) => store.touch(on, ...args),
      ),
    ),
    fc.tuple(id, owner, epoch).map(([on, by, given]) =>
      command(
        `release by ${by} in ${given}`,
        on,
        (model) => {
          const record = inEpoch(model, on, given);
          if (record?.owner !== by) return false;
          record.owner = undefined;
          return true;
        },
        (store) => store.release(on, by, given),
      ),
    ),
    fc.nat(15).map((minutes) => advance(minutes * MINUTE)),
  ],
  { maxCommands: 60 },
);
