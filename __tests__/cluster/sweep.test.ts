import { leaseKey, nodesKey } from '../../src/cluster/lease.js';
import { until } from '../support/waiting.js';
import { InProcessCluster } from './in-process.js';

let cluster: InProcessCluster;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
afterEach(() => cluster.clear());
afterAll(() => cluster.stop());

const SHORT = { lease: 400, renewInterval: 100, fenceAfter: 300, claimTimeout: 2_000 };
const members = async (): Promise<string[]> => (await cluster.ask('SMEMBERS', nodesKey(cluster.prefix))) as string[];

test('the ID of a node that was killed goes from the set of nodes, and the IDs of live nodes stay (docs/scaling.md, "What it costs")', async () => {
  await cluster.nodes(2, { times: SHORT });
  const live = await members();
  expect(live).toHaveLength(2);
  await cluster.ask('SADD', nodesKey(cluster.prefix), 'a node that was killed');
  await until('the dead ID is gone', async () => !(await members()).includes('a node that was killed'));
  expect((await members()).sort()).toEqual(live.sort());
});

test('a live node that is missing from the set of nodes adds itself again', async () => {
  const [node] = await cluster.nodes(1, { times: SHORT });
  const [id] = await members();
  await cluster.ask('DEL', nodesKey(cluster.prefix));
  await until('it is there again', async () => (await members()).includes(id!));
  expect(await cluster.ask('EXISTS', leaseKey(cluster.prefix, id!))).toBe(1);
  await node!.close();
  expect(await members()).toEqual([]);
});
