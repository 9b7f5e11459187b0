import { randomUUID } from 'node:crypto';
import { announcingServer } from '../endpoint/announcing-server.js';
import { askingServer } from '../endpoint/asking-server.js';
import type { EventStream } from '../support/event-stream.js';
import { freePort } from '../support/free-port.js';
import { call, send, subscribe, type PerRequestReply } from '../support/per-request.js';
import { until } from '../support/waiting.js';
import { InProcessCluster, type InProcessNode } from './in-process.js';
import { GhostLease } from './leases.js';

// Clients of MCP 2026-07-28 on three nodes of a cluster (docs/scaling.md, "Clients of MCP 2026-07-28").

type Fields = Readonly<Record<string, unknown>>;

const UNKNOWN = { status: 200, error: { code: -32602 } };
const capabilities = { elicitation: {} };
const headers = { 'x-principal': 'alice' };
/** A state of a call that no node has. */
const CALL = 'A'.repeat(22);

const cluster = InProcessCluster.ofSuite();

const seen: string[] = [];
beforeEach(() => seen.splice(0));

function askingNodes(): Promise<InProcessNode[]> {
  return cluster.nodes(3, { perRequest: true, serverFactory: () => askingServer({ seen }) });
}

interface Asked {
  readonly requestState: string;
  readonly inputResponses: Fields;
}

async function ask(node: InProcessNode, name: string, value = 'Bob'): Promise<Asked> {
  return answersTo(await call(node.url, name, {}, { capabilities, headers }), value);
}

function answersTo({ result }: PerRequestReply, value: string): Asked {
  const { requestState, inputRequests } = result as { requestState: string; inputRequests: Fields };
  const answer = { action: 'accept', content: { value } };
  return { requestState, inputResponses: Object.fromEntries(Object.keys(inputRequests).map((key) => [key, answer])) };
}

const retry = (node: InProcessNode, name: string, params: Partial<Asked>, more: object = {}) =>
  call(node.url, name, {}, { capabilities, headers, ...more, params: { ...params } });

const textOf = ({ result }: PerRequestReply) => (result?.content as { text: string }[] | undefined)?.[0]?.text;

describe('a retry that reaches another node than its call', () => {
  test('is answered by the node whose handler waits, in each round, in SSE and in JSON', async () => {
    const [a, b, c] = (await askingNodes()) as [InProcessNode, InProcessNode, InProcessNode];
    const first = await ask(a, 'twice', '1');
    const second = answersTo(await retry(b, 'twice', first), '2');
    const json = { headers: { ...headers, accept: 'application/json' } };
    expect(textOf(await retry(c, 'twice', second, json))).toBe('1 2');
    expect(await retry(c, 'twice', second)).toMatchObject(UNKNOWN);
  });

  test('is refused there as on one node: another principal, another tool', async () => {
    const [a, b] = await askingNodes();
    const asked = await ask(a!, 'once');
    expect(await retry(b!, 'once', asked, { headers: { 'x-principal': 'bob' } })).toMatchObject(UNKNOWN);
    expect(await retry(b!, 'wait', asked)).toMatchObject(UNKNOWN);
    expect(textOf(await retry(b!, 'once', asked))).toBe('Bob');
  });

  test('cancels the handler when its client closes the reply', async () => {
    const [a, b] = await askingNodes();
    const asked = await ask(a!, 'hold-after-asking');
    const client = new AbortController();
    const retried = retry(b!, 'hold-after-asking', asked, { signal: client.signal }).catch(() => 'gone');
    await until('the handler goes on', () => seen.includes('holding'));
    client.abort();
    expect(await retried).toBe('gone');
    await until('its signal aborts', () => seen.includes('aborted'));
  });

  test('is taken by an owner that drains, and by a node that drains', async () => {
    const [a, b, c] = (await askingNodes()) as [InProcessNode, InProcessNode, InProcessNode];
    const [first, second] = [await ask(a, 'once', '1'), await ask(b, 'once', '2')];
    const drained = a.router.drain(30_000);
    expect(textOf(await retry(a, 'once', second))).toBe('2');
    expect(textOf(await retry(c, 'once', first))).toBe('1');
    await drained;
  });

  test('gets -32602 when the owner has left, and when it was killed', async () => {
    const [a, b] = await askingNodes();
    const asked = await ask(a!, 'once');
    await a!.close();
    expect(await retry(b!, 'once', asked)).toMatchObject(UNKNOWN);

    // What a killed node leaves: a lease that is not renewed, and an address at which nothing listens.
    const id = randomUUID();
    await new GhostLease(cluster.ask, cluster.prefix, await freePort(), id).write();
    expect(await retry(b!, 'once', { requestState: `${id}.${CALL}.1` })).toMatchObject(UNKNOWN);
  });
});

test('a retry gets -32602 on another node where nodes cannot reach each other (`routing: migrate`)', async () => {
  const times = { routing: 'migrate' as const };
  const [a, b] = await cluster.nodes(2, { perRequest: true, serverFactory: () => askingServer({ seen }), times });
  const asked = await ask(a!, 'once');
  expect(await retry(b!, 'once', asked)).toMatchObject(UNKNOWN);
  expect(textOf(await retry(a!, 'once', asked))).toBe('Bob');
});

test('handlers of a principal get the same `extra.sessionId` on every node, and no other principal has it', async () => {
  const nodes = await cluster.nodes(2, { perRequest: true, serverFactory: () => askingServer() });
  const ids = (user: string) =>
    Promise.all(
      nodes.map(async ({ url }) => textOf(await call(url, 'session', {}, { headers: { 'x-principal': user } }))),
    );
  const [alice, bob] = [await ids('alice'), await ids('bob')];
  expect(alice[1]).toBe(alice[0]);
  expect(bob[1]).toBe(bob[0]);
  expect(bob[0]).not.toBe(alice[0]);
});

describe('a forged requestState', () => {
  test('reaches no node that is no member, and is no key of Redis', async () => {
    const commands: string[][] = [];
    const node = await cluster.node({
      perRequest: true,
      serverFactory: () => askingServer(),
      tap:
        (redis) =>
        (...command) => {
          commands.push(command);
          return redis(...command);
        },
    });
    const id = randomUUID();
    const named = ['127.0.0.1:80', '../node', `${id}\n`, id.toUpperCase(), '-'.repeat(36), 'a'.repeat(36), id];
    for (const nodeId of named) {
      expect(await retry(node, 'once', { requestState: `${nodeId}.${CALL}.1` })).toMatchObject(UNKNOWN);
    }
    expect(commands.filter(([name]) => name === 'HGETALL').length).toBeGreaterThan(1);
    expect(commands.flat().filter((word) => named.some((nodeId) => word.includes(nodeId)))).toEqual([]);
  });

  test('makes one hop at most, and a node none to itself', async () => {
    const [a, b] = await askingNodes();
    const asked = await ask(a!, 'once');
    const [nodeId] = asked.requestState.split('.');
    for (const node of [a!, b!]) {
      expect(await retry(node, 'once', { requestState: `${nodeId}.${CALL}.1` })).toMatchObject(UNKNOWN);
    }
    const forwarded = async (node: InProcessNode) =>
      /^mcp_cluster_forwarded_total\{outcome="answered"\} (\d+)$/m.exec(await node.metrics())?.[1];
    expect([await forwarded(a!), await forwarded(b!)]).toEqual(['0', '1']);
  });
});

describe('a subscription in a cluster', () => {
  async function listen(node: InProcessNode, user: string | undefined): Promise<EventStream> {
    const notifications = { toolsListChanged: true, resourceSubscriptions: ['test://x'] };
    return (await subscribe(node.url, notifications, { headers: { 'x-principal': user } })).stream;
  }

  test('gets the announcements of its principal’s servers on every node, and ends by its result on a drain', async () => {
    const nodes = await cluster.nodes(3, { perRequest: true, serverFactory: () => announcingServer().server });
    const [a] = nodes as [InProcessNode];
    const mine = await Promise.all(nodes.map((node) => listen(node, 'alice')));
    const others = await Promise.all(nodes.map((node) => listen(node, 'bob')));
    const anonymous = await listen(nodes[1]!, undefined);
    await call(a.url, 'change', { list: 'tools', times: 3 }, { headers });
    for (const stream of mine) {
      expect(await stream.message()).toMatchObject({ method: 'notifications/tools/list_changed' });
    }
    await call(a.url, 'update', { uri: 'test://x' }, { headers: { 'x-principal': 'bob' } });
    for (const stream of others) expect(await stream.message()).toMatchObject({ params: { uri: 'test://x' } });
    await call(a.url, 'update', { uri: 'test://x' });
    expect(await anonymous.message()).toMatchObject({ params: { uri: 'test://x' } });
    await Promise.all(nodes.map((node) => node.router.drain(5_000)));
    for (const stream of [...mine, ...others, anonymous]) {
      expect((await stream.messages()).at(-1)).toMatchObject({ result: { resultType: 'complete' } });
    }
  });

  test('ends on every node with closeByPrincipal, and so do the calls of the principal', async () => {
    const nodes = await cluster.nodes(3, {
      perRequest: true,
      serverFactory: (context) => (context.req.headers['x-asks'] ? askingServer({ seen }) : announcingServer().server),
    });
    const [a, b] = nodes as [InProcessNode, InProcessNode];
    const mine = await Promise.all(nodes.map((node) => listen(node, 'alice')));
    const other = await listen(b, 'bob');
    const asking = { capabilities, headers: { ...headers, 'x-asks': '1' } };
    const asked = answersTo(await call(b.url, 'once', {}, asking), 'Bob');

    await a.router.sessions.closeByPrincipal('alice');
    for (const stream of mine) {
      expect((await stream.messages()).at(-1)).toMatchObject({ result: { resultType: 'complete' } });
    }
    expect(await call(b.url, 'once', {}, { ...asking, params: { ...asked } })).toMatchObject(UNKNOWN);
    await b.router.notify.toolListChanged();
    expect(await other.message()).toMatchObject({ method: 'notifications/tools/list_changed' });
  });

  test('ends when its node is fenced, which gets no announcement any more', async () => {
    let isCutOff = false;
    const node = await cluster.node({
      perRequest: true,
      serverFactory: () => announcingServer().server,
      tap:
        (send) =>
        (...command) =>
          isCutOff ? Promise.reject(new Error('cut off')) : send(...command),
    });
    const stream = await listen(node, 'alice');
    isCutOff = true;
    expect((await stream.messages()).at(-1)).toMatchObject({ result: { resultType: 'complete' } });
    isCutOff = false;
  });

  test('is served by any node, as every request of MCP 2026-07-28', async () => {
    const nodes = await askingNodes();
    for (const { url } of nodes) expect((await send(url, 'server/discover')).status).toBe(200);
  });
});
