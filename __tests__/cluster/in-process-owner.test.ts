import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS } from '../../src/errors.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { valueOf } from '../support/exposition.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { freePort } from '../support/free-port.js';
import { post, initializeBody } from '../support/harness.js';
import type { RawSessionInit } from '../support/raw-session.js';
import { expectRow } from '../support/rows.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { changeLeases, GhostLease, leasesIn } from './leases.js';
import { InProcessCluster, isDestroy, type InProcessNode, type InProcessNodeInit, type Tool } from './in-process.js';

const cluster = InProcessCluster.ofSuite();

/** Well below those of the nodes' own, as some tests wait for them. */
const SHORT = { lease: 1_100, renewInterval: 250, fenceAfter: 750, claimTimeout: 1_900 };

const answered = async (response: Promise<Response>) => {
  const from = performance.now();
  const { status, headers } = await response;
  const body = await (await response).text();
  return { status, body, retryAfter: headers.get('retry-after'), took: performance.now() - from };
};

/** How a session is ended at a node, each true where it has ended. */
const ENDS = {
  'a DELETE': async ({ url }: InProcessNode, session: AnyNodeSession) => (await session.delete(url)).status === 200,
  'sessions.close()': ({ router }: InProcessNode, { id }: AnyNodeSession) => router.sessions.close(id),
};

let ghost: GhostLease | undefined;
afterEach(() => ghost?.stop());

/** A session that only a node owns that is not there. @param lives - Whether the lease of that node is renewed. */
async function haunted(node: InProcessNode, lives: boolean): Promise<AnyNodeSession> {
  const session = await AnyNodeSession.open(node.url);
  await session.call(node.url, 'add');
  await node.close();
  const { key } = await cluster.record();
  ghost = new GhostLease(cluster.ask, cluster.prefix, await freePort());
  await (lives ? ghost.live() : ghost.write());
  await cluster.ask('HSET', key, 'o', ghost.lease.id);
  return session;
}

describe('an owner that cannot be reached (docs/scaling.md: held, not refused; never "serve locally for now")', () => {
  test('is 503 with Retry-After after claimTimeout while its lease lives, and the record is untouched', async () => {
    const [a, b] = await cluster.nodes(2, { times: SHORT });
    const session = await haunted(a!, true);
    const before = await cluster.record();
    const { took, ...answer } = await answered(session.request(b!.url, 'add'));
    expectRow(answer, 'ownerUnreachable');
    expect(Number(answer.retryAfter)).toBeGreaterThan(0);
    expect(took).toBeGreaterThanOrEqual(SHORT.claimTimeout - 5);
    // Long before the lease expires.
    expect(took).toBeLessThan(30_000);
    expect(await cluster.record()).toEqual(before);
    expect(b!.contexts).toEqual([]);
    expect(valueOf(await b!.metrics(), 'mcp_cluster_forwarded_total', { outcome: 'unreachable' })).toBe(1);
  });

  type Tap = NonNullable<InProcessNodeInit['tap']>;

  /** Nodes `a`, and `b`, which reaches `a` through a proxy, and Redis through a tap. */
  async function proxied(init: InProcessNodeInit = {}, tapOfB: Tap = (send) => send, opening: RawSessionInit = {}) {
    const a = await cluster.node({ ...init, name: 'a' });
    const [lease] = await leasesIn(cluster.ask, cluster.prefix);
    const proxy = await FaultProxy.start(lease!.port);
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) =>
        changeLeases(command, await send(...command), (each) => ({ ...each, port: proxy.port }));
    const b = await cluster.node({ name: 'b', tap: (send) => tap(tapOfB(send)), times: SHORT });
    const session = await AnyNodeSession.open(a.url, opening);
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'a', count: 1 });
    return { b, proxy, session };
  }

  test('may have begun a call that it left unacknowledged for claimTimeout: the outcome is unknown', async () => {
    const { b, proxy, session } = await proxied();
    proxy.hold();
    const answer = answered(session.request(b.url, 'add'));
    const first = await Promise.race([answer, sleep(30_000, undefined, { ref: false })]);
    proxy.release();
    await answer;
    await proxy.close();
    expect(first).toMatchObject({ status: 200, body: expect.stringContaining('outcome is unknown') as string });
  });

  test('is asked again when it can be reached before claimTimeout, and what was held is done once', async () => {
    const { b, proxy, session } = await proxied();
    proxy.refuse();
    const answer = session.call(b.url, 'add');
    await sleep(300);
    proxy.accept();
    expect(await answer).toMatchObject({ node: 'a', epoch: 0, count: 2 });
    await proxy.close();
  });

  test('is not asked twice for what it may have done: the connection broke, and each request gets an error', async () => {
    const cut: Tool = async ({ context }) => {
      await context.state.set('count', Number(context.state.get('count')) + 1);
      proxy.cut();
    };
    const { b, proxy, session } = await proxied({ tools: { cut } });
    const { status, body } = await answered(session.request(b.url, 'cut'));
    expectRow({ status, body }, 'outcomeUnknown');
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'a', count: 3 });
    expect(valueOf(await b.metrics(), 'mcp_cluster_forwarded_total', { outcome: 'lost' })).toBe(1);
    await proxy.close();
  });

  test('is believed to have ended a session that is gone, where the connection broke before it could say so', async () => {
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        const reply = await send(...command);
        if (isDestroy(command)) proxy.cut();
        return reply;
      };
    const { b, proxy, session } = await proxied({ tap });
    expect((await session.delete(b.url)).status).toBe(200);
    expect(await session.statuses(b.url)).toEqual([404, 404, 404]);
    await proxy.close();
  });

  test('has its client’s reply broken off, not ended, where its own breaks off after the first event', async () => {
    const gate = new Deferred();
    const step: Tool = async ({ extra }) => {
      const progressToken = extra._meta!.progressToken!;
      await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
      await gate.promise;
    };
    const { b, proxy, session } = await proxied({ tools: { step } });
    const stream = await session.stream(b.url, 'step');
    expect(await stream.message()).toMatchObject({ params: { progress: 1 } });
    proxy.cut();
    await expect(soon('the reply is over', stream.messages())).rejects.toThrow('terminated');
    gate.resolve();
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'a', count: 2 });
    await proxy.close();
  });

  /** The next connection breaks when the node on it has said that it takes what it was sent. */
  function cutOnce(proxy: FaultProxy): void {
    const limits = ['HTTP/1.1 102 Processing\r\n\r\n'.length];
    proxy.cutAfter = () => limits.shift() ?? Infinity;
    proxy.cut();
  }

  test('is not asked twice for a batch, each request of which gets an error (spec 2025-03-26, basic/transports)', async () => {
    const { b, proxy, session } = await proxied({}, undefined, { version: '2025-03-26' });
    const batch = [session.body('add'), session.body('add')] as { id: number }[];
    cutOnce(proxy);
    const response = await session.post(b.url, batch);
    const { code, message } = ERRORS.outcomeUnknown;
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(batch.map(({ id }) => ({ jsonrpc: '2.0', id, error: { code, message } })));
    await proxy.close();
  });

  test('is not asked twice for a notification, which is accepted', async () => {
    const { b, proxy, session } = await proxied();
    cutOnce(proxy);
    const said = await session.post(b.url, { jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
    expect([said.status, await said.text()]).toEqual([202, '']);
    expect(valueOf(await b.metrics(), 'mcp_cluster_forwarded_total', { outcome: 'lost' })).toBe(1);
    await proxy.close();
  });

  test.each(Object.entries(ENDS))(
    'is believed by %s also where it is asked again, and knows of no session',
    async (_by, end) => {
      let first: unknown;
      let finds = 0;
      // Node b finds the record twice, as if the owner were still at it.
      const tap: Tap =
        (send) =>
        async (...command) => {
          const reply = await send(...command);
          if (command[0] !== 'HMGET') return reply;
          finds += 1;
          first ??= reply;
          return finds === 2 ? first : reply;
        };
      const { b, proxy, session } = await proxied({}, tap);
      finds = 0;
      cutOnce(proxy);
      expect(await end(b, session)).toBe(true);
      expect(finds).toBe(3);
      expect(await session.statuses(b.url)).toEqual([404, 404, 404]);
      await proxy.close();
    },
  );

  test('is not believed to have ended for one principal the session of another', async () => {
    const { b, proxy, session } = await proxied();
    cutOnce(proxy);
    expect((await session.delete(b.url, { 'x-principal': 'bob' })).status).toBe(404);
    proxy.cutAfter = () => Infinity;
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 2 });
    await proxy.close();
  });

  test('is waited for until its lease is gone, and the request is then served, with no error to its client', async () => {
    const [a, b] = await cluster.nodes(2, { times: SHORT });
    const session = await haunted(a!, false);
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    expect(b!.lines('session claimed')).toMatchObject([
      { from: '00000000-0000-4000-8000-000000000000', epoch: 1, session: session.id.slice(0, 8) },
    ]);
  });
});

describe('the claim of a session (docs/scaling.md: compare-and-set on owner and epoch)', () => {
  test('is one node only, where two are asked at once for a session that is free: the other hands over to it', async () => {
    const gate = new Deferred();
    let claims = 0;
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        // The epoch that is expected, no owner, and the new one.
        if (command[0]!.startsWith('EVAL') && command[4] === '0' && command[5] === '' && command.length === 7) {
          claims += 1;
          await gate.promise;
        }
        return send(...command);
      };
    const [a, b, c] = await cluster.nodes(3, { tap });
    const session = await AnyNodeSession.open(a!.url);
    await session.call(a!.url, 'add');
    await a!.close();
    const both = [session.call(b!.url, 'add'), session.call(c!.url, 'add')];
    await until('both have found it free', () => claims === 2);
    gate.resolve();
    const told = await Promise.all(both);
    expect(told.map(({ epoch }) => epoch)).toEqual([1, 1]);
    expect(told.map(({ count }) => count).sort()).toEqual([2, 3]);
    expect(new Set(told.map((each) => JSON.stringify({ ...each, count: 0 }))).size).toBe(1);
    expect((await cluster.record()).epoch).toBe(1);
    expect([b!, c!].flatMap((node) => node.lines('session claimed'))).toHaveLength(1);
    expect([b!, c!].flatMap((node) => node.router.sessions.list())).toHaveLength(1);
  });

  test('never takes from a live owner: a request that was handed to a node that does not own the session goes no further', async () => {
    let lie: string | undefined;
    // Node c believes that b owns it.
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        const reply = await send(...command);
        const asks = command[0] === 'HMGET' && Array.isArray(reply) && lie !== undefined;
        return asks ? [reply[0], reply[1], lie] : reply;
      };
    const [a, b] = await cluster.nodes(2);
    const c = await cluster.node({ name: 'c', tap, times: SHORT });
    const session = await AnyNodeSession.open(a!.url);
    await session.call(a!.url, 'add');
    await AnyNodeSession.open(b!.url);
    lie = String(b!.lines('cluster joined')[0]!.node);
    const answer = await answered(session.request(c.url, 'add'));
    expectRow(answer, 'ownerUnreachable');
    expect(b!.contexts).toHaveLength(1);
    expect(valueOf(await b!.metrics(), 'mcp_cluster_forwarded_total', { outcome: 'answered' })).toBe(0);
    lie = undefined;
    expect(await session.call(c.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 2 });
  });
});

describe('the end of a session while its owner reads that another node has claimed it (docs/scaling.md: an end is final)', () => {
  test.each(Object.entries(ENDS))('is the end of its record, by %s', async (_by, end) => {
    const asked = new Deferred();
    const gate = new Deferred();
    let lost = false;
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        if (lost && command[0] === 'HMGET') {
          asked.resolve();
          await gate.promise;
        }
        return send(...command);
      };
    const a = await cluster.node({ name: 'a', tap });
    const session = await AnyNodeSession.open(a.url);
    const { key } = await cluster.record();
    await cluster.ask('HSET', key, 'o', '', 'e', '1');
    lost = true;
    const call = session.request(a.url, 'add');
    await soon('it reads the owner of the record', asked.promise);
    const ended = end(a, session);
    // Time enough for an end that waits for nothing.
    setTimeout(gate.resolve, 100);
    expect(await ended).toBe(true);
    await (await call).text();
    expect(await cluster.ask('EXISTS', key)).toBe(0);
  });
});

describe('all nodes at once (docs/scaling.md)', () => {
  test('sessions.list({ cluster: true }) tells of those of every node, and of each once', async () => {
    const nodes = await cluster.nodes(3);
    const sessions = await Promise.all(nodes.map(({ url }) => AnyNodeSession.open(url)));
    for (const { router } of nodes) {
      const listed = await router.sessions.list({ cluster: true });
      expect(listed.map(({ id }) => id).sort()).toEqual(sessions.map(({ id }) => id).sort());
      expect(router.sessions.list()).toHaveLength(1);
    }
    // No request waits for a session that has ended.
    await nodes[0]!.close();
    expect(await nodes[1]!.router.sessions.list({ cluster: true })).toHaveLength(2);
  });

  test('sessions.close(id) ends a session wherever it is, once; false for one that is none', async () => {
    const [a, b] = await cluster.nodes(2);
    const session = await AnyNodeSession.open(a!.url);
    expect(await b!.router.sessions.close(session.id)).toBe(true);
    expect(a!.lines('session closed')).toMatchObject([{ reason: 'deleted' }]);
    expect(await b!.router.sessions.close(session.id)).toBe(false);
    for (const { url } of [a!, b!]) expect((await session.request(url, 'echo')).status).toBe(404);
  });

  test('sessions.close(id) ends also one that its owner could not build', async () => {
    const a = await cluster.node({ name: 'a', times: SHORT });
    const session = await AnyNodeSession.open(a.url);
    const b = await cluster.node({ name: 'b', serverFactory: () => Promise.reject(new Error('no')), times: SHORT });
    await a.close();
    expectRow(await answered(session.request(b.url, 'echo')), 'restoreFailed');
    const c = await cluster.node({ name: 'c', times: SHORT });
    expect(await c.router.sessions.close(session.id)).toBe(true);
    expect((await session.request(c.url, 'echo')).status).toBe(404);
  });

  test('metrics mcp_cluster_* show owned sessions, forwarded requests, claims and the age of the lease', async () => {
    const [a, b] = await cluster.nodes(2);
    const session = await AnyNodeSession.open(a!.url);
    await session.call(b!.url, 'add');
    const values = async (node: InProcessNode) => {
      const text = await node.metrics();
      const names = ['owned', 'claimed_total', 'fenced_total'] as const;
      return names.map((name) => valueOf(text, `mcp_cluster_${name}`));
    };
    expect([await values(a!), await values(b!)]).toEqual([
      [1, 0, 0],
      [0, 0, 0],
    ]);
    expect(valueOf(await b!.metrics(), 'mcp_cluster_forwarded_total', { outcome: 'answered' })).toBe(1);
    const age = valueOf(await a!.metrics(), 'mcp_cluster_lease_age_seconds')!;
    expect(age).toBeGreaterThanOrEqual(0);
    // In seconds. With an older lease the node would not be a member.
    expect(age).toBeLessThan(2);
    await a!.close();
    await session.call(b!.url, 'add');
    expect(await values(b!)).toEqual([1, 1, 0]);
    expect(b!.lines('session claimed')).toMatchObject([{ epoch: 1 }]);
    await session.delete(b!.url);
    expect(await values(b!)).toEqual([0, 1, 0]);
  });
});

describe('drain (docs/scaling.md: release ownership so that others take over at once)', () => {
  const gates: Deferred[] = [];
  const tools: Readonly<Record<string, Tool>> = {
    async wait() {
      const gate = new Deferred();
      gates.push(gate);
      await gate.promise;
    },
  };

  test('hands its sessions over without an error for running and new requests, and ready reports it', async () => {
    const [a, b] = await cluster.nodes(2, { tools });
    const idle = await AnyNodeSession.open(a!.url);
    const busy = await AnyNodeSession.open(a!.url);
    await idle.call(a!.url, 'add');
    const running = busy.call(b!.url, 'wait');
    await until('it runs', () => gates.length === 1);
    const drained = a!.router.drain(5_000);
    expect([await a!.ready(), await b!.ready()]).toEqual([503, 200]);
    // Also those that its balancer still sends to it.
    expect(await idle.call(a!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    const fresh = await post(a!.url, initializeBody());
    expect(fresh.status).toBe(200);
    expect(b!.router.sessions.list().map(({ id }) => id)).toContain(fresh.headers.get('mcp-session-id'));
    await fresh.text();
    // A request of a session with a running call is served by the same node.
    expect(await busy.call(a!.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 1 });
    gates[0]!.resolve();
    expect(await running).toMatchObject({ node: 'a', epoch: 0 });
    expect(await busy.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    await soon('it is drained', drained);
    expect(await leasesIn(cluster.ask, cluster.prefix)).toHaveLength(1);
    expect(a!.lines('failure')).toEqual([]);
    expect(b!.lines('failure')).toEqual([]);
  });

  test('of all nodes at once refuses new requests at once, and forwards none', async () => {
    const [a, b] = await cluster.nodes(2);
    const session = await AnyNodeSession.open(a!.url);
    const from = performance.now();
    const drained = Promise.all([a!.router.drain(60_000), b!.router.drain(60_000)]);
    const answers = [post(a!.url, initializeBody()), session.request(b!.url, 'echo')];
    for (const answer of answers) expect(await answered(answer)).toMatchObject({ status: 503, retryAfter: '5' });
    await soon('both are drained, though the time for it is not over', drained);
    expect(performance.now() - from).toBeLessThan(50_000);
  });
});
