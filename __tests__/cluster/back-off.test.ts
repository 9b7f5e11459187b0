import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { BACK_OFF, BackOff } from '../../src/cluster/forwarding/back-off.js';
import type { ServerFactory } from '../../src/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster } from './in-process.js';

test('a session is on back-off for 5 s after it was last given up, and 10,000 sessions are remembered', () => {
  const clock = new FakeClock();
  const backOff = new BackOff(clock);
  for (let n = 0; n <= 10_000; n += 1) backOff.start(`${n}`);
  expect(['0', '1', '10000', 'other'].map((id) => backOff.isOn(id))).toEqual([false, true, true, false]);
  clock.advance(BACK_OFF - 1);
  expect(backOff.isOn('1')).toBe(true);
  backOff.start('1');
  clock.advance(1);
  expect(['1', '2'].map((id) => backOff.isOn(id))).toEqual([true, false]);
  clock.advance(BACK_OFF - 1);
  expect(backOff.isOn('1')).toBe(false);
});

describe('a node that cannot build servers (docs/scaling.md, "When a node cannot build servers")', () => {
  const cluster = InProcessCluster.ofSuite();

  /** A factory that fails and is counted when it restores a session. */
  const broken = (fail: () => unknown = () => Promise.reject(new Error('no database'))) => {
    const tries = { count: 0 };
    const serverFactory: ServerFactory = async ({ restored }) => {
      if (!restored) return new McpServer({ name: 'broken', version: '1' }, { capabilities: { tools: {} } });
      tries.count += 1;
      return (await fail()) as McpServer;
    };
    return { tries, serverFactory };
  };

  test.each<[string, (() => unknown) | undefined]>([
    ['throws', undefined],
    ['connects to nothing', () => ({ connect: () => Promise.reject(new Error('no')), close: () => Promise.resolve() })],
    ['never comes back', () => new Promise(() => undefined)],
  ])(
    'whose factory %s leaves its sessions to a healthy node: 33 of 33 requests are served at any node',
    async (_how, fail) => {
      const first = await cluster.node({ name: 'first' });
      const sessions = await Promise.all(Array.from({ length: 3 }, () => AnyNodeSession.open(first.url)));
      const { tries, serverFactory } = broken(fail);
      const ill = await cluster.node({ name: 'ill', serverFactory, openTimeout: 300 });
      const well = await cluster.node({ name: 'well' });
      await first.close();
      for (let n = 0; n < 11; n += 1) {
        for (const [k, session] of sessions.entries()) {
          const { url } = (n + k) % 2 === 0 ? ill : well;
          expect(await session.call(url, 'add')).toMatchObject({ node: 'well', count: n + 1 });
        }
      }
      expect(tries.count).toBe(2);
    },
  );

  test('gives up a session that it cannot wake, and another node goes on with it', async () => {
    let fails = false;
    const ill = await cluster.node({
      name: 'ill',
      orphanAfter: 20,
      hibernateAfter: 20,
      serverFactory: () => {
        if (fails) throw new Error('no database');
        return new McpServer({ name: 'ill', version: '1' });
      },
    });
    const well = await cluster.node({ name: 'well' });
    const sessions = await Promise.all([AnyNodeSession.open(ill.url), AnyNodeSession.open(ill.url)]);
    await until('both hibernate', () => ill.router.sessions.stats().hibernated === 2);
    fails = true;
    for (const [n, session] of sessions.entries()) {
      const { url } = n === 0 ? ill : well;
      expect(await session.call(url, 'add')).toMatchObject({ node: 'well', count: 1 });
      expect(await session.call(ill.url, 'add')).toMatchObject({ node: 'well', count: 2 });
    }
    expect(ill.router.sessions.list()).toEqual([]);
  });

  test('if no node can, each tries once in 5 s, the client gets 503 with Retry-After, and the record stays', async () => {
    const first = await cluster.node({ name: 'first' });
    const session = await AnyNodeSession.open(first.url, { headers: { 'x-principal': 'ann' } });
    const [a, b] = [broken(), broken()];
    const nodes = [
      await cluster.node({ name: 'a', serverFactory: a.serverFactory }),
      await cluster.node({ name: 'b', serverFactory: b.serverFactory }),
    ];
    await first.close();
    for (const { url } of [...nodes, ...nodes]) {
      const response = await session.request(url, 'add');
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
      expect(await response.json()).toMatchObject({
        error: { message: expect.stringContaining('restored now') as string },
      });
    }
    expect([a.tries.count, b.tries.count]).toEqual([1, 1]);
    expect(await cluster.record()).toMatchObject({ owner: '', epoch: 2 });
    // The session does not exist for another principal.
    const other = await session.post(nodes[0]!.url, session.body('add'), { 'x-principal': 'bob' });
    expect(other.status).toBe(404);
    await other.text();
    expect((await session.delete(nodes[0]!.url)).status).toBe(200);
  });
});
