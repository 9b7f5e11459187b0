import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionStore, StoredRecord } from '../stores/session-store.js';

/** One rule of the contract, as a test for any test runner. */
export interface ContractCase {
  readonly name: string;
  /** Rejects with an `AssertionError` when the store breaks the rule, or with the store's own error. */
  readonly run: () => Promise<void>;
}

/** The store under test, and how to test it. */
export interface ContractInit {
  /** Returns the store under test. All cases may share one store, as each case uses new IDs, or IDs such as `constructor`. */
  readonly store: () => SessionStore | Promise<SessionStore>;
  /** Returns a second instance on the same data, which stands for another process. Default: the same instance. */
  readonly sameDataAgain?: ((store: SessionStore) => SessionStore | Promise<SessionStore>) | undefined;
  /** Lets that many milliseconds pass. Default: waits for that long. */
  readonly pass?: ((ms: number) => Promise<void>) | undefined;
  /** A time in ms that the store can distinguish from twice that time, even on a busy machine. Default: 100. */
  readonly resolution?: number | undefined;
}

const TTL = 60_000;
const OLD = JSON.stringify({ text: 'old' });
const NEW = JSON.stringify({ text: 'new' });
const TRIES = Array.from({ length: 20 }, (_, n) => n);

/**
 * The contract of a {@link SessionStore}, as cases for any test runner. Optional methods are tested if the store has them.
 *
 * @example
 * ```ts
 * describe('my store', () => {
 *   for (const { name, run } of sessionStoreContract({ store: () => myStore })) test(name, run);
 * });
 * ```
 */
export function sessionStoreContract(init: ContractInit): ContractCase[] {
  const pass = init.pass ?? sleep;
  const resolution = init.resolution ?? 100;
  const cases: ContractCase[] = [];
  const it = (name: string, check: (store: SessionStore, id: string, other: SessionStore) => Promise<void>): void => {
    const run = async () => {
      const store = await init.store();
      await check(store, randomUUID(), (await init.sameDataAgain?.(store)) ?? store);
    };
    cases.push({ name, run });
  };

  it('has no record of an ID that was never created', async (store, id) => {
    await assertAbsent(store, id, { owner: undefined, epoch: 0 });
  });

  it('returns exactly the text that was created, in epoch 0', async (store, id, other) => {
    const texts = [
      { text: 'äöü ✓ 😀 \u0000 \u2028 \ud800', list: [1.0, null], nested: {} },
      ':base64:aGk=',
      '',
      '{}',
      7,
    ];
    for (const [n, text] of texts.entries()) {
      const data = JSON.stringify(text);
      assert.equal(await store.create(`${id}${n}`, data, 'node-a', TTL), true);
      assert.deepEqual(await read(store, `${id}${n}`), { data, epoch: 0, owner: 'node-a' });
      assert.deepEqual(await read(other, `${id}${n}`), { data, epoch: 0, owner: 'node-a' });
    }
    const spaced = '{ "b": 1, "a": 2 }\n';
    assert.equal(await store.create(id, spaced, undefined, TTL), true);
    assert.deepEqual(await read(other, id), { data: spaced, epoch: 0, owner: undefined });
  });

  it('keeps 64 KiB whole', async (store, id) => {
    const data = JSON.stringify('x'.repeat(65_534));
    assert.equal(await store.create(id, data, undefined, TTL), true);
    assert.deepEqual(await read(store, id), { data, epoch: 0, owner: undefined });
  });

  it('keeps sessions apart, whatever their IDs', async (store, id) => {
    const visible = Array.from({ length: 94 }, (_, n) => String.fromCharCode(0x21 + n)).join('');
    const short = id.replaceAll('-', '');
    const ids = [`${short}${visible}`, short.padEnd(128, '~'), short.padEnd(127, '~')].concat(
      ['a', 'A', '*', '%', '..', '/', '//', ':', '{a}', '{b}'].map((end) => `${short}${end}`),
    );
    for (const [n, each] of ids.entries()) assert.equal(await store.create(each, `${n}`, undefined, TTL), true, each);
    for (const [n, each] of ids.entries()) assert.equal((await store.get(each))?.data, `${n}`, each);
    for (const each of ids) {
      assert.equal(await store.destroy(each), true, each);
      assert.equal(await store.get(each), undefined, each);
    }
  });

  it('accepts IDs that are names of properties of every object', async (store) => {
    for (const id of ['constructor', '__proto__', 'hasOwnProperty']) {
      await store.destroy(id); // an earlier run may have been interrupted here
      assert.equal(await store.get(id), undefined, id);
      assert.equal(await store.create(id, OLD, 'a', TTL), true, id);
      assert.deepEqual(await read(store, id), { data: OLD, epoch: 0, owner: 'a' });
      assert.equal(await store.destroy(id), true, id);
      assert.equal(await store.get(id), undefined, id);
    }
  });

  it('does not create over a record', async (store, id, other) => {
    assert.equal(await store.create(id, OLD, 'a', TTL), true);
    assert.equal(await other.create(id, NEW, 'b', TTL), false);
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 0, owner: 'a' });
  });

  it('lets only one of many creates succeed', async (store, id, other) => {
    const tries = TRIES.map((n) => (n % 2 === 0 ? store : other).create(id, `${n}`, undefined, TTL));
    const winner = onlyOne(await Promise.all(tries));
    assert.equal((await store.get(id))?.data, `${winner}`);
  });

  it('updates the data and nothing else', async (store, id, other) => {
    await store.create(id, OLD, 'a', TTL);
    assert.equal(await other.update(id, 0, NEW, TTL), true);
    assert.deepEqual(await read(store, id), { data: NEW, epoch: 0, owner: 'a' });
  });

  it('updates only in the epoch of the record', async (store, id, other) => {
    await store.create(id, OLD, undefined, TTL);
    assert.equal(await store.update(id, 1, NEW, TTL), false, 'a later epoch');
    assert.equal(await other.claim(id, { owner: undefined, epoch: 0 }, 'a'), true);
    assert.equal(await store.update(id, 0, NEW, TTL), false, 'an earlier epoch');
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 1, owner: 'a' });
  });

  it('never brings a destroyed record back', async (store, id, other) => {
    await store.create(id, OLD, 'a', TTL);
    assert.equal(await other.destroy(id), true);
    await assertAbsent(store, id, { owner: 'a', epoch: 0 });
    assert.equal(await store.create(id, NEW, undefined, TTL), true, 'the ID is free');
    assert.deepEqual(await read(store, id), { data: NEW, epoch: 0, owner: undefined });
  });

  it('destroys a record for good while updates are in progress', async (store, id, other) => {
    await store.create(id, OLD, undefined, TTL);
    const before = TRIES.map((n) => other.update(id, 0, `${n}`, TTL));
    const destroyed = store.destroy(id);
    const after = TRIES.map((n) => other.update(id, 0, `${n}`, TTL));
    assert.equal(await destroyed, true);
    await Promise.all([...before, ...after]);
    assert.equal(await store.get(id), undefined);
    assert.equal(await other.get(id), undefined);
  });

  it('destroys only in the given epoch', async (store, id, other) => {
    await store.create(id, OLD, 'a', TTL);
    assert.equal(await store.destroy(id, 1), false, 'a later epoch');
    assert.equal(await other.claim(id, { owner: 'a', epoch: 0 }, 'b'), true);
    assert.equal(await store.destroy(id, 0), false, 'an earlier epoch');
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 1, owner: 'b' });
    assert.equal(await store.destroy(id, 1), true);
    assert.equal(await store.get(id), undefined);
  });

  it('destroys in every epoch when none is given', async (store, id, other) => {
    await store.create(id, OLD, 'a', TTL);
    await store.claim(id, { owner: 'a', epoch: 0 }, 'b');
    assert.equal(await other.destroy(id), true);
    assert.equal(await store.get(id), undefined);
  });

  it('lets only one of many destroys succeed', async (store, id, other) => {
    await store.create(id, OLD, undefined, TTL);
    onlyOne(await Promise.all(TRIES.map((n) => (n % 2 === 0 ? store : other).destroy(id))));
  });

  it('lets a session be claimed only with its current owner and epoch', async (store, id, other) => {
    await store.create(id, OLD, undefined, TTL);
    assert.equal(await store.claim(id, { owner: 'a', epoch: 0 }, 'b'), false, 'it has no owner');
    assert.equal(await store.claim(id, { owner: undefined, epoch: 0 }, 'a'), true);
    assert.deepEqual(await read(other, id), { data: OLD, epoch: 1, owner: 'a' });
    assert.equal(await other.claim(id, { owner: 'a', epoch: 0 }, 'b'), false, 'an earlier epoch');
    assert.equal(await other.claim(id, { owner: 'a', epoch: 2 }, 'b'), false, 'a later epoch');
    assert.equal(await other.claim(id, { owner: 'b', epoch: 1 }, 'b'), false, 'another owner');
    assert.equal(await other.claim(id, { owner: undefined, epoch: 1 }, 'b'), false, 'it has an owner');
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 1, owner: 'a' });
    assert.equal(await store.claim(id, { owner: 'a', epoch: 1 }, 'a'), true, 'by its owner');
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 2, owner: 'a' });
  });

  it('lets only one of many claims succeed', async (store, id, other) => {
    await store.create(id, OLD, 'a', TTL);
    const tries = TRIES.map((n) => (n % 2 === 0 ? store : other).claim(id, { owner: 'a', epoch: 0 }, `node-${n}`));
    const winner = onlyOne(await Promise.all(tries));
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 1, owner: `node-${winner}` });
  });

  it('releases a session only for its owner, in the current epoch', async (store, id, other) => {
    if (store.release === undefined) return;
    await store.create(id, OLD, 'a', TTL);
    assert.equal(await store.release(id, 'b', 0), false, 'another owner');
    assert.equal(await store.release(id, 'a', 1), false, 'a later epoch');
    assert.equal(await store.claim(id, { owner: 'a', epoch: 0 }, 'a'), true);
    assert.equal(await store.release(id, 'a', 0), false, 'an earlier epoch');
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 1, owner: 'a' });
    assert.equal(await store.release(id, 'a', 1), true);
    assert.deepEqual(await read(other, id), { data: OLD, epoch: 1, owner: undefined });
    assert.equal(await store.release(id, 'a', 1), false, 'it has no owner');
    assert.equal(await other.claim(id, { owner: undefined, epoch: 1 }, 'b'), true);
    assert.deepEqual(await read(store, id), { data: OLD, epoch: 2, owner: 'b' });
  });

  it('drops a record after its ttl', async (store, id) => {
    await store.create(id, OLD, 'a', resolution);
    await store.create(`${id}-long`, OLD, 'a', TTL);
    await pass(2 * resolution);
    await assertAbsent(store, id, { owner: 'a', epoch: 0 });
    assert.equal(await store.create(id, NEW, undefined, TTL), true, 'the ID is free');
    assert.deepEqual(await read(store, id), { data: NEW, epoch: 0, owner: undefined });
    assert.deepEqual(await read(store, `${id}-long`), { data: OLD, epoch: 0, owner: 'a' });
  });

  it('restarts the ttl with an update', async (store, id) => {
    await store.create(`${id}-longer`, OLD, undefined, 2 * resolution);
    await store.create(`${id}-shorter`, OLD, undefined, TTL);
    assert.equal(await store.update(`${id}-longer`, 0, NEW, TTL), true);
    assert.equal(await store.update(`${id}-shorter`, 0, NEW, 2 * resolution), true);
    await pass(4 * resolution);
    assert.equal((await store.get(`${id}-longer`))?.data, NEW);
    assert.equal(await store.get(`${id}-shorter`), undefined);
  });

  it('restarts the ttl with a touch, which changes nothing else', async (store, id) => {
    if (store.touch === undefined) return;
    await store.create(`${id}-longer`, OLD, 'a', 2 * resolution);
    await store.create(`${id}-shorter`, OLD, 'a', TTL);
    assert.equal(await store.touch(`${id}-longer`, 0, TTL), true);
    assert.equal(await store.touch(`${id}-shorter`, 0, 2 * resolution), true);
    await pass(4 * resolution);
    assert.deepEqual(await read(store, `${id}-longer`), { data: OLD, epoch: 0, owner: 'a' });
    assert.equal(await store.get(`${id}-shorter`), undefined);
  });

  it('returns the remaining time of a record without changing it', async (store, id) => {
    if (store.remaining === undefined) return;
    const isWithin = async (most: number, least: number): Promise<void> => {
      const ms = await store.remaining?.(id);
      assert.ok(ms !== undefined && ms <= most && ms > least, `${ms} is not from ${least} to ${most}`);
    };
    await store.create(id, OLD, 'a', TTL);
    await isWithin(TTL, TTL / 2);
    await store.update(id, 0, OLD, 16 * resolution);
    await isWithin(16 * resolution, 0);
    await pass(2 * resolution);
    // A timer of Node's may fire a fraction of a millisecond early.
    await isWithin(15 * resolution, 0);
    await pass(16 * resolution);
    assert.equal(await store.remaining(id), undefined);
  });

  it('touches only in the epoch of the record', async (store, id) => {
    if (store.touch === undefined) return;
    await store.create(id, OLD, 'a', 4 * resolution);
    assert.equal(await store.touch(id, 1, TTL), false, 'a later epoch');
    assert.equal(await store.claim(id, { owner: 'a', epoch: 0 }, 'b'), true);
    assert.equal(await store.touch(id, 0, TTL), false, 'an earlier epoch');
    await pass(5 * resolution);
    assert.equal(await store.get(id), undefined);
  });

  it('does not restart the ttl when a record is read, claimed or released', async (store, id) => {
    const [seen, claimed, released] = [`${id}-seen`, `${id}-claimed`, `${id}-released`];
    for (const each of [seen, claimed, released]) await store.create(each, OLD, 'a', 4 * resolution);
    await pass(2 * resolution);
    assert.equal((await store.get(seen))?.data, OLD);
    assert.equal(await store.claim(claimed, { owner: 'a', epoch: 0 }, 'b'), true);
    if (store.release !== undefined) assert.equal(await store.release(released, 'a', 0), true);
    assert.equal((await store.get(claimed))?.data, OLD, 'claimed, and its ttl is not over');
    await pass(3 * resolution);
    for (const each of [seen, claimed, released]) assert.equal(await store.get(each), undefined, each);
  });

  return cases;
}

/** Asserts that no operation succeeds on an absent record, and that none creates it. */
async function assertAbsent(store: SessionStore, id: string, was: Pick<StoredRecord, 'owner' | 'epoch'>) {
  assert.equal(await store.get(id), undefined);
  assert.equal(await store.update(id, was.epoch, NEW, TTL), false, 'update');
  assert.equal(await store.claim(id, was, 'z'), false, 'claim');
  if (store.touch !== undefined) assert.equal(await store.touch(id, was.epoch, TTL), false, 'touch');
  if (store.remaining !== undefined) assert.equal(await store.remaining(id), undefined, 'remaining');
  if (store.release !== undefined) assert.equal(await store.release(id, was.owner ?? 'z', was.epoch), false, 'release');
  assert.equal(await store.destroy(id, was.epoch), false, 'destroy');
  assert.equal(await store.destroy(id), false, 'destroy');
  assert.equal(await store.get(id), undefined, 'none of these operations may create a record');
}

/** Asserts that exactly one of them resolved to true, and returns its index. */
function onlyOne(answers: boolean[]): number {
  assert.deepEqual(
    answers.filter((answer) => answer),
    [true],
    'exactly one of many resolves to true',
  );
  return answers.indexOf(true);
}

/** The fields of a record that the contract defines, without other fields or a prototype of the store. */
async function read(store: SessionStore, id: string): Promise<StoredRecord | undefined> {
  const record = await store.get(id);
  return record && { data: record.data, epoch: record.epoch, owner: record.owner };
}
