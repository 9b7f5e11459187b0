import { leaseKey, nodesKey } from '../../src/cluster/membership/lease.js';
import { until } from '../support/waiting.js';
import { InProcessCluster } from './in-process.js';

let cluster: InProcessCluster;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
afterEach(() => cluster.clear());
afterAll(() => cluster.stop());

const SHORT = { lease: 600, renewInterval: 100, fenceAfter: 500, claimTimeout: 2_000 };
const members = async (): Promise<string[]> => (await cluster.ask('SMEMBERS', nodesKey(cluster.prefix))) as string[];

/** The nodes that have a lease. On a busy machine one may be fenced, and joins again under another ID. */
async function live(): Promise<string[]> {
  const keys = (await cluster.ask('KEYS', leaseKey(cluster.prefix, '*'))) as string[];
  return keys.map((key) => key.slice(leaseKey(cluster.prefix, '').length));
}

const areLive = async (count: number): Promise<boolean> => {
  const [ids, leases] = [await members(), await live()];
  return leases.length === count && ids.sort().join() === leases.sort().join();
};

test('the ID of a node that was killed goes from the set of nodes, and the IDs of live nodes stay (docs/scaling.md, "What it costs")', async () => {
  await cluster.nodes(2, { times: SHORT });
  await cluster.ask('SADD', nodesKey(cluster.prefix), 'a node that was killed');
  await until('the set has the live nodes only', () => areLive(2));
});

test('a live node that is missing from the set of nodes adds itself again', async () => {
  const [node] = await cluster.nodes(1, { times: SHORT });
  await cluster.ask('DEL', nodesKey(cluster.prefix));
  await until('it is there again', () => areLive(1));
  await node!.close();
  expect(await members()).toEqual([]);
});
