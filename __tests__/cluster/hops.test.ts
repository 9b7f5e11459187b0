import { createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import { systemClock } from '../../src/runtime/clock.js';
import { NodeClient } from '../../src/cluster/port/node-client.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { valueOf } from '../support/exposition.js';
import { HopProxy, type HopFault } from '../support/hop-proxy.js';
import { expectRow } from '../support/rows.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { changeLeases, leasesIn } from './leases.js';
import { InProcessCluster, type InProcessNode, type Tool } from './in-process.js';

let cluster: InProcessCluster;
let a: InProcessNode;
let b: InProcessNode;
let proxy: HopProxy;
let session: AnyNodeSession;
/** How often each call ran, by its name. */
let runs: Map<string, number>;
let gate: Deferred;

const tools: Readonly<Record<string, Tool>> = {
  run({ args }) {
    runs.set(args.name!, (runs.get(args.name!) ?? 0) + 1);
    return {};
  },
  async wait({ args }) {
    runs.set(args.name!, (runs.get(args.name!) ?? 0) + 1);
    await gate.promise;
  },
};

/** `claimTimeout` is longer than any call of these tests, and short enough for a call that is held until then. */
const TIMES = { lease: 1_100, renewInterval: 250, fenceAfter: 750, claimTimeout: 1_900 };

/** Node `a`, which owns the session, and `b`, which reaches `a` by a proxy. */
async function start(told: object = {}, json = false): Promise<void> {
  a = await cluster.node({ name: 'a', tools, enableJsonResponse: json });
  const [lease] = await leasesIn(cluster.ask, cluster.prefix);
  proxy = await HopProxy.start(lease!.port);
  const tap =
    (send: SendCommand): SendCommand =>
    async (...command) =>
      changeLeases(command, await send(...command), (lease) => ({ ...lease, port: proxy.port, ...told }));
  b = await cluster.node({ name: 'b', tap, times: TIMES });
  session = await AnyNodeSession.open(a.url);
}

const run = (name: string) => session.request(b.url, 'run', { name });
const lost = async () => valueOf(await b.metrics(), 'mcp_cluster_forwarded_total', { outcome: 'lost' });

beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
beforeEach(() => {
  runs = new Map();
  gate = new Deferred();
});
afterEach(async () => {
  gate.resolve();
  await cluster.clear();
  await proxy.close();
});
afterAll(() => cluster.stop());

describe('a forwarded call is begun once at most (docs/scaling.md, "What is guaranteed")', () => {
  test('a call whose proxy drops 1xx responses is answered, and is sent once', async () => {
    await start();
    expect(await session.call(b.url, 'run', { name: 'one' })).toMatchObject({ node: 'a' });
    const response = await run('two');
    expect(response.headers.has('x-mcp-node')).toBe(false);
    expect(await response.text()).toContain('node');
    expect(runs).toEqual(new Map(Object.entries({ one: 1, two: 1 })));
  });

  test('a call longer than claimTimeout, whose proxy drops 1xx responses, is answered when it is done', async () => {
    await start({ receives102: false }, true);
    const call = session.call(b.url, 'wait', { name: 'long' });
    await until('it has begun', () => runs.get('long') === 1);
    await new Promise((resolve) => setTimeout(resolve, TIMES.claimTimeout + 300));
    gate.resolve();
    expect(await soon('it is answered', call)).toMatchObject({ node: 'a' });
    expect(runs.get('long')).toBe(1);
  });

  test('when the 102 is lost with the connection, the client gets "outcome is unknown", and the call is not begun again', async () => {
    await start();
    proxy.faults.push('breaks after');
    const response = await session.request(b.url, 'wait', { name: 'once' });
    expectRow({ status: response.status, body: await response.text() }, 'outcomeUnknown');
    expect(runs).toEqual(new Map([['once', 1]]));
    expect(await lost()).toBe(1);
    gate.resolve();
    expect(await session.call(b.url, 'run', { name: 'next' })).toMatchObject({ node: 'a' });
  });

  test('a call whose connection breaks before the call arrives is sent again, and answered', async () => {
    await start();
    proxy.faults.push('breaks before', 'breaks before', 'breaks before');
    expect(await session.call(b.url, 'run', { name: 'once' })).toMatchObject({ node: 'a' });
    expect(runs).toEqual(new Map([['once', 1]]));
    expect(await lost()).toBe(0);
  });

  test('a call that a proxy answered itself is not sent again', async () => {
    await start();
    proxy.faults.push('answered');
    const response = await run('once');
    expectRow({ status: response.status, body: await response.text() }, 'outcomeUnknown');
    expect(runs).toEqual(new Map([['once', 1]]));
    expect(proxy.faults).toEqual([]);
  });

  test('a call that a proxy sends twice is not begun twice', async () => {
    await start();
    proxy.faults.push('repeated');
    const response = await session.request(b.url, 'wait', { name: 'once' });
    expectRow({ status: response.status, body: await response.text() }, 'outcomeUnknown');
    expect(runs).toEqual(new Map([['once', 1]]));
  });

  test('when the node ends before it can tell, the client gets "outcome is unknown", and no other node begins the call', async () => {
    await start();
    proxy.faults.push('breaks after', ...Array.from({ length: 1_000 }, () => 'breaks before' as const));
    const call = session.request(b.url, 'wait', { name: 'once' });
    await until('it has begun', () => runs.get('once') === 1);
    await a.close();
    const response = await soon('it is answered', call);
    expectRow({ status: response.status, body: await response.text() }, 'outcomeUnknown');
    expect(runs).toEqual(new Map([['once', 1]]));
  });

  test('a notification gets 503 in that case, so that its client may send it again', async () => {
    await start();
    proxy.faults.push('answered');
    const said = await session.post(b.url, { jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
    expectRow({ status: said.status, body: await said.text() }, 'ownerUnreachable');
    proxy.faults.push('breaks after');
    // The node itself tells that it has taken the notification.
    expect((await session.post(b.url, { jsonrpc: '2.0', method: 'notifications/roots/list_changed' })).status).toBe(
      202,
    );
  });

  test('with any faults of its messages, a call gets its result or "outcome is unknown", and is begun once at most (property)', async () => {
    await start();
    const faults = fc.constantFrom<HopFault>('plain', 'repeated', 'breaks before', 'breaks after', 'answered');
    let calls = 0;
    const seen = { answered: 0, unknown: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(faults, { maxLength: 5 }), async (fates) => {
        proxy.faults.splice(0, proxy.faults.length, ...fates);
        const name = `call ${(calls += 1)}`;
        const response = await run(name);
        const text = await response.text();
        expect(response.status).toBe(200);
        const unknown = text.includes('outcome is unknown');
        expect(unknown || text.includes('\\"node\\":\\"a\\"')).toBe(true);
        seen[unknown ? 'unknown' : 'answered'] += 1;
        if (!unknown) expect(runs.get(name)).toBe(1);
        expect(runs.get(name) ?? 0).toBeLessThanOrEqual(1);
      }),
      { numRuns: 60 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(5);
  });
});

test('a node refuses a kind of request that its version does not know, as in a rolling upgrade (docs/scaling.md, "The private listener")', async () => {
  await start();
  const key = createSecretKey(Buffer.from('of the nodes in this process only'));
  const nodeClient = new NodeClient(key, systemClock, 60_000, 1_000_000);
  const [to] = await leasesIn(cluster.ask, cluster.prefix);
  for (const kind of ['later', 'constructor']) {
    const { sent } = nodeClient.request(to!, kind as never, {} as never, undefined, { time: 60_000 });
    expect(await soon('it is answered', sent)).toEqual({ outcome: 'untaken', why: 'unknownKind' });
  }
  nodeClient.close();
});
