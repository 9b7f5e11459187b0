import { nodesKey } from '../../src/cluster/membership/lease.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster } from './in-process.js';
import { leasesIn } from './leases.js';

const HOUR = 3_600_000;

const cluster = InProcessCluster.ofSuite();

/** What a node of an earlier version writes when it joins: a set of IDs, and a key for each lease. */
async function joinAsEarlier(id: string, ms: number): Promise<void> {
  await cluster.ask('SET', `${cluster.prefix}node:${id}`, '{}', 'PX', String(ms), 'NX');
  await cluster.ask('SADD', nodesKey(cluster.prefix), id);
}

/** Leaves the one record as a node of an earlier version does that has stopped: its time to live has no spare time. */
async function writeAsEarlier(id: string, left: number): Promise<string> {
  const { key } = await cluster.record();
  await cluster.ask('DEL', nodesKey(cluster.prefix));
  await cluster.ask('HSET', key, 'o', id);
  for (const field of (await cluster.ask('HKEYS', key)) as string[]) {
    if (!['d', 'e', 'o'].includes(field)) await cluster.ask('HDEL', key, field);
  }
  await cluster.ask('PEXPIRE', key, String(left));
  await joinAsEarlier(id, 1);
  return key;
}

describe('an upgrade from a version whose leases had a time to live (docs/scaling.md, "The private listener")', () => {
  test('a node does not join while a node of the earlier version has a lease, and its log says why; then it joins by itself', async () => {
    await joinAsEarlier('killed before', 1);
    await joinAsEarlier('old', 60_000);
    const node = await cluster.node({ joins: false });
    await until('the log says why', () => node.lines('failure').length > 0);
    expect(node.lines('failure')).toMatchObject([
      {
        what: 'cluster: nodes of an earlier version are running',
        err: { message: expect.stringContaining('stop all nodes of the earlier version') as string },
      },
    ]);
    expect(await node.ready()).toBe(503);
    await expect(AnyNodeSession.open(node.url)).rejects.toThrow('503');
    expect(await cluster.ask('SMEMBERS', nodesKey(cluster.prefix))).toEqual(['old']);
    await cluster.ask('DEL', `${cluster.prefix}node:old`);
    await until('it joins', async () => (await node.ready()) === 200);
    expect(await leasesIn(cluster.ask, cluster.prefix)).toHaveLength(1);
  });

  test.each(['SMEMBERS', 'EXISTS', 'SREM'])(
    'a node that finds only the dead joins as soon as Redis answers its %s: the log says that it did not answer in time',
    async (hangs) => {
      await joinAsEarlier('killed before', 1);
      let away = true;
      let asked = 0;
      const tap =
        (send: SendCommand): SendCommand =>
        (...command) => {
          if (command[0] !== hangs || !away) return send(...command);
          asked += 1;
          return new Promise(() => undefined);
        };
      const node = await cluster.node({ joins: false, tap });
      await until('it has tried again', () => asked >= 2);
      const what = 'cluster: no lease';
      expect(node.lines('failure')).toMatchObject([{ what, err: { message: 'Redis did not answer in time' } }]);
      expect(await node.ready()).toBe(503);
      away = false;
      await until('it joins', async () => (await node.ready()) === 200);
      expect(await leasesIn(cluster.ask, cluster.prefix)).toHaveLength(1);
    },
  );

  test.each([
    ['just used', 1.25 * HOUR],
    ['not used for a time', 60_000],
  ])('the sessions of the earlier version are restored: %s', async (_what, left) => {
    const a = await cluster.node({ name: 'a', ttl: HOUR });
    const session = await AnyNodeSession.open(a.url);
    await session.call(a.url, 'add');
    await a.close();
    const key = await writeAsEarlier('old', left);
    const b = await cluster.node({ name: 'b', ttl: HOUR });
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    expect(b.lines('session claimed')).toMatchObject([{ from: 'old' }]);
    await b.close();
    expect(Number(await cluster.ask('PTTL', key))).toBeGreaterThan(25 * HOUR);
    const c = await cluster.node({ name: 'c', ttl: HOUR });
    expect(await session.call(c.url, 'add')).toMatchObject({ node: 'c', epoch: 2, count: 3 });
  });

  test('a node of the earlier version cannot join this version’s cluster', async () => {
    await cluster.node();
    await expect(joinAsEarlier('old', 1_000)).rejects.toThrow('WRONGTYPE');
  });
});
