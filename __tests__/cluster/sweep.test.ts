import { fieldsOf, LEFT, nodesKey } from '../../src/cluster/membership/lease.js';
import { until } from '../support/waiting.js';
import { InProcessCluster } from './in-process.js';
import { freePort } from '../support/free-port.js';
import { GhostLease } from './leases.js';

const cluster = InProcessCluster.ofSuite();

const SHORT = { lease: 500, renewInterval: 100, fenceAfter: 250, claimTimeout: 2_000 };
const fields = async () => fieldsOf(await cluster.ask('HGETALL', nodesKey(cluster.prefix)));

test('Redis keeps nothing of nodes that left or were killed: fields that do not change are removed (docs/scaling.md, "What it costs")', async () => {
  const ghost = new GhostLease(cluster.ask, cluster.prefix, await freePort());
  await ghost.write();
  const [a, b] = await cluster.nodes(2, { times: SHORT });
  await b!.close();
  expect([...(await fields()).values()]).toContain(LEFT);
  await until('the hash has the live node only', async () => {
    const found = await fields();
    return found.size === 1 && !found.has(ghost.lease.id);
  });
  expect(await a!.ready()).toBe(200);
  await a!.close();
  expect(await cluster.ask('EXISTS', nodesKey(cluster.prefix))).toBe(0);
});
