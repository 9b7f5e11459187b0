import { decodeLease } from '../../src/cluster/membership/lease.js';
import { Peers } from '../../src/cluster/membership/peers.js';
import { ClusterPrincipalCounts } from '../../src/cluster/principal-counts.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { FakeClock } from '../support/fake-clock.js';

/** As a client within a transaction answers, or a function `sendCommand` that loses the reply. */
const REPLIES = ['QUEUED', undefined, 1, null, [1], ['a'], ['a', 7], { a: 7 }];

const timing = { lease: 5_000, renewInterval: 1_500, fenceAfter: 3_300 };
const peers = (send: SendCommand): Peers =>
  new Peers({ send, prefix: 'mcp:', clock: new FakeClock(), timing, proof: undefined });
const counts = (send: SendCommand): ClusterPrincipalCounts =>
  new ClusterPrincipalCounts({
    send,
    prefix: 'mcp:',
    lifetime: 60_000,
    spare: 60_000,
    unused: 30_000,
    most: 1,
    evict: () => Promise.reject(new Error('nothing is to be ended')),
  });

describe('a reply that Redis cannot have given (docs/scaling.md: nothing is concluded from it)', () => {
  test.each<[string, (send: SendCommand) => Promise<unknown>]>([
    ['the list of nodes', (send) => peers(send).all()],
    ['the lease of a node', (send) => peers(send).find('a')],
  ])('rejects for %s', async (_what, ask) => {
    for (const reply of REPLIES) {
      await expect(ask(() => Promise.resolve(reply))).rejects.toThrow();
    }
  });

  test.each<[string, (send: SendCommand) => Promise<unknown>]>([
    ['a new session of a principal', (send) => counts(send).enter('alice', 'session', true)],
    ['a session that is renewed', (send) => counts(send).renew('alice', 'session')],
    ['the sessions of a principal', (send) => counts(send).sessionsOf('alice')],
    ['the sessions that are not in use', (send) => counts(send).longUnused('alice')],
  ])('is storeUnavailable for %s', async (_what, ask) => {
    for (const reply of REPLIES.slice(0, 2)) {
      await expect(ask(() => Promise.resolve(reply))).rejects.toMatchObject({ reason: 'storeUnavailable' });
    }
  });
});

test('a lease with an invalid process proof is refused', () => {
  const lease = { id: 'a', host: 'a', port: 1, challenge: 'c', leaving: false };
  for (const proof of [null, {}, { pid: '7' }, { pid: 1.5 }, 7]) {
    expect(() => decodeLease(`1 ${JSON.stringify({ ...lease, proof })}`)).toThrow('no proof of a process');
  }
  expect(decodeLease(`1 ${JSON.stringify({ ...lease, proof: { pid: 7 } })}`)).toMatchObject({ proof: { pid: 7 } });
  expect(decodeLease(`1 ${JSON.stringify(lease)}`)).toEqual(lease);
});
