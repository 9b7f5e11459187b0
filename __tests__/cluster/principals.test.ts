import { initializeBody, post } from '../support/harness.js';
import { freePort } from '../support/free-port.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { GhostLease } from './leases.js';
import { InProcessCluster, type InProcessNode } from './in-process.js';

const ALICE = { headers: { 'x-principal': 'alice' } };
const BOB = { headers: { 'x-principal': 'bob' } };

let a: InProcessNode;
let b: InProcessNode;
let c: InProcessNode;
const cluster = InProcessCluster.ofSuite();

async function start(options: Parameters<InProcessCluster['nodes']>[1] = {}): Promise<void> {
  [a, b, c] = (await cluster.nodes(3, options)) as [InProcessNode, InProcessNode, InProcessNode];
}

const statusOf = async (session: AnyNodeSession, node: InProcessNode): Promise<number> => {
  const response = await session.request(node.url, 'echo');
  await response.text();
  return response.status;
};

describe('maxSessionsPerPrincipal (docs/scaling.md: it holds for the whole cluster)', () => {
  test('counts the sessions of all nodes: one more is 503 at each, while all are in use; another principal is not held up', async () => {
    await start({ maxSessionsPerPrincipal: 2 });
    const held = [await AnyNodeSession.open(a.url, ALICE), await AnyNodeSession.open(b.url, ALICE)];
    // A standalone stream keeps a session from being orphaned.
    const streams = [await held[0]!.get(a.url), await held[1]!.get(b.url)];
    for (const node of [a, b, c]) {
      const response = await post(node.url, initializeBody(), ALICE.headers);
      expect([response.status, await response.text()]).toEqual([503, expect.stringContaining('of this principal')]);
    }
    expect(await statusOf(await AnyNodeSession.open(c.url, BOB), a)).toBe(200);
    for (const { body } of streams) await body?.cancel();
  });

  test('ends the session that was orphaned for the longest, on any node', async () => {
    await start({ maxSessionsPerPrincipal: 2, orphanAfter: 50 });
    const first = await AnyNodeSession.open(a.url, ALICE);
    await until('the first is orphaned', () => a.router.sessions.stats().orphaned === 1);
    const second = await AnyNodeSession.open(b.url, ALICE);
    await until('the second is orphaned', () => b.router.sessions.stats().orphaned === 1);
    const third = await AnyNodeSession.open(c.url, ALICE);
    expect(await Promise.all([first, second, third].map((session) => statusOf(session, c)))).toEqual([404, 200, 200]);
    expect(a.lines('session closed')).toMatchObject([{ reason: 'evicted' }]);
  });

  test('stops counting a session that has ended, at any node and in any way', async () => {
    await start({ maxSessionsPerPrincipal: 1 });
    for (const [opener, ender] of [
      [a, a],
      [a, b],
      [b, c],
    ] as const) {
      const session = await AnyNodeSession.open(opener.url, ALICE);
      expect((await session.delete(ender.url)).status).toBe(200);
    }
    const closed = await AnyNodeSession.open(a.url, ALICE);
    expect(await c.router.sessions.close(closed.id)).toBe(true);
    await AnyNodeSession.open(b.url, ALICE);
  });

  test('ends the session of a dead node, but only if it has been unused for long enough', async () => {
    await start({ maxSessionsPerPrincipal: 1, ttl: 8_000, orphanAfter: 50 });
    const session = await AnyNodeSession.open(a.url, ALICE);
    // It gives up its sessions, and no node claims this one.
    await a.close();
    const opened = async (): Promise<number> => {
      const response = await post(b.url, initializeBody(), ALICE.headers);
      await response.text();
      return response.status;
    };
    expect(await opened()).toBe(503);
    await until('there is room for another', async () => (await opened()) === 200);
    expect(await statusOf(session, c)).toBe(404);
  });

  test('a session that changes its node in a rolling restart does not count as unused', async () => {
    await start({ maxSessionsPerPrincipal: 1 });
    const session = await AnyNodeSession.open(a.url, ALICE);
    await a.router.drain(1_000);
    expect((await post(b.url, initializeBody(), ALICE.headers)).status).toBe(503);
    expect(await statusOf(session, c)).toBe(200);
  });

  test('is 503 also while a node cannot be reached that has a lease: never an internal error', async () => {
    await start({ maxSessionsPerPrincipal: 1 });
    const session = await AnyNodeSession.open(a.url, ALICE);
    const stream = await session.get(a.url);
    await new GhostLease(cluster.ask, cluster.prefix, await freePort()).write();
    expect((await post(b.url, initializeBody(), ALICE.headers)).status).toBe(503);
    await stream.body?.cancel();
  });
});

describe('sessions.closeByPrincipal (docs/scaling.md: it holds for the whole cluster)', () => {
  test('ends those of all nodes and those that only Redis has, and tells how many; no other principal loses one', async () => {
    await start();
    const d = await cluster.node({ name: 'd' });
    const stored = await AnyNodeSession.open(d.url, ALICE);
    await d.close();
    const mine = [stored, ...(await Promise.all([a, b, c].map((node) => AnyNodeSession.open(node.url, ALICE))))];
    const theirs = await AnyNodeSession.open(b.url, BOB);
    expect(await a.router.sessions.closeByPrincipal('alice')).toBe(4);
    expect(await Promise.all(mine.map((session) => statusOf(session, b)))).toEqual([404, 404, 404, 404]);
    expect(await statusOf(theirs, a)).toBe(200);
    expect(await a.router.sessions.closeByPrincipal('alice')).toBe(0);
  });

  test('ends those of living nodes after a step of two hours by the clock of Redis', async () => {
    await start({ maxSessionsPerPrincipal: 3 });
    const mine = await Promise.all([a, b].map((node) => AnyNodeSession.open(node.url, ALICE)));
    // The times of all entries are as far in the past as a forward step would make them.
    const [key] = (await cluster.ask('KEYS', `${cluster.prefix}*:principal`)) as [string];
    for (const id of (await cluster.ask('ZRANGE', key, '0', '-1')) as string[])
      await cluster.ask('ZINCRBY', key, String(-2 * 3_600_000), id);
    mine.push(await AnyNodeSession.open(c.url, ALICE));
    expect(await c.router.sessions.closeByPrincipal('alice')).toBe(3);
    expect(await Promise.all(mine.map((session) => statusOf(session, b)))).toEqual([404, 404, 404]);
  });

  test('takes the claims of a token, if the router makes names of claims', async () => {
    const auth = {
      token: 'secret',
      clientId: 'agent',
      scopes: [],
      extra: { iss: 'https://idp.example', sub: 'alice' },
    };
    await start({ principal: undefined, auth });
    const mine = await Promise.all([a, b].map((node) => AnyNodeSession.open(node.url)));
    expect(await c.router.sessions.closeByPrincipal({ iss: 'https://idp.example', sub: 'alice' })).toBe(2);
    expect(await Promise.all(mine.map((session) => statusOf(session, b)))).toEqual([404, 404]);
  });
});
