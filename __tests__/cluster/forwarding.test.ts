import { setImmediate } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  ElicitRequestSchema,
  ElicitResultSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { redisEventStore } from '../../src/stores/redis.js';
import { initializeBody, post } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { answerOf, RawSession } from '../support/raw-session.js';
import { expectRow } from '../support/rows.js';
import { StalledReader } from '../support/stalled-reader.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { EventStream } from '../support/event-stream.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, type InProcessNode, type Tool } from './in-process.js';

let cluster: InProcessCluster;
let gate: Deferred;
let begun: Deferred<AbortSignal>;
const clients: Client[] = [];
beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
beforeEach(() => {
  gate = new Deferred();
  begun = new Deferred();
});
afterEach(async () => {
  gate.resolve();
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await cluster.clear();
});
afterAll(() => cluster.stop());

const tools: Readonly<Record<string, Tool>> = {
  async wait({ extra }) {
    begun.resolve(extra.signal);
    await gate.promise;
  },
  async steps({ extra }) {
    const progressToken = extra._meta!.progressToken!;
    for (let progress = 1; progress <= 3; progress += 1) {
      await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress } });
    }
    await gate.promise;
  },
  async ask({ args, extra }) {
    const requestedSchema = { type: 'object' as const, properties: { reply: { type: 'string' as const } } };
    const params = { mode: 'form' as const, message: args.question!, requestedSchema };
    const { content } = await extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema);
    return { reply: content?.reply };
  },
  async notify({ args, server, context }) {
    await server.sendLoggingMessage({ level: 'info', data: args.data }, context.sessionId);
  },
  who: ({ extra }) => {
    const { authInfo } = extra;
    return { authInfo, isUrl: authInfo?.resource instanceof URL, headers: extra.requestInfo?.headers };
  },
  async flood({ args, server, context }) {
    for (let n = 0; n < Number(args.count); n += 1) {
      await server.sendLoggingMessage({ level: 'info', data: 'x'.repeat(64 * 1024) }, context.sessionId);
      await setImmediate();
    }
  },
};

/** A client that sends its requests to each node in turn. */
async function roundRobin(nodes: readonly InProcessNode[], start = 0) {
  let turn = start;
  const asked: string[] = [];
  const fetchInTurn: typeof fetch = (url, init) => {
    const node = nodes[turn % nodes.length]!;
    turn += 1;
    asked.push(`${init?.method ?? 'GET'} ${node.name}`);
    const to = new URL(url);
    to.port = node.url.port;
    return fetch(to, init);
  };
  const client = new Client({ name: 'in turn', version: '1' }, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
    action: 'accept',
    content: { reply: `answer to ${params.message}` },
  }));
  const transport = new StreamableHTTPClientTransport(nodes[0]!.url, { fetch: fetchInTurn });
  clients.push(client);
  await client.connect(transport);
  const call = async (name: string, args: object = {}, onprogress?: (progress: { progress: number }) => void) => {
    const { content } = await client.callTool({ name, arguments: { ...args } }, undefined, {
      ...(onprogress && { onprogress }),
    });
    return JSON.parse((content as { text: string }[])[0]!.text) as Record<string, unknown>;
  };
  return { client, transport, call, asked };
}

describe('a session is served at every node by the one that owns it (docs/scaling.md)', () => {
  test('calls in turn at three nodes have one history, and one server is built', async () => {
    const nodes = await cluster.nodes(3);
    const { call } = await roundRobin(nodes);
    const told = [];
    for (let n = 0; n < 9; n += 1) told.push(await call('add'));
    const owner = told[0]!.node;
    expect(told).toEqual(told.map((_, n) => ({ node: owner, epoch: 0, count: n + 1 })));
    expect(nodes.flatMap(({ contexts }) => contexts)).toHaveLength(1);
  });

  test('a client that accepts JSON only, or SSE only, gets that form at every node', async () => {
    const nodes = await cluster.nodes(2);
    const session = await AnyNodeSession.open(nodes[0]!.url);
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } };
    for (const { url } of nodes) {
      for (const type of ['application/json', 'text/event-stream']) {
        const response = await post(url, body, { 'mcp-session-id': session.id, accept: type });
        expect([response.status, response.headers.get('content-type')]).toEqual([200, type]);
        expect(await response.text()).toContain('"result"');
      }
    }
  });

  test('a call that takes long has the head of its reply after a second at every node', async () => {
    const [a, b] = await cluster.nodes(2, { tools });
    const session = await AnyNodeSession.open(a!.url);
    const response = await soon('the head', session.request(b!.url, 'wait'));
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    gate.resolve();
    expect(await answerOf(response)).toMatchObject({ id: 1, result: {} });
  });

  test('progress comes through a hop as it is sent, before the call is answered', async () => {
    const nodes = await cluster.nodes(2, { tools });
    const { call } = await roundRobin(nodes);
    for (const start of [0, 1]) {
      gate = new Deferred();
      const progress: number[] = [];
      if (start === 1) await call('echo');
      const answer = call('steps', {}, (step) => progress.push(step.progress));
      await until('all progress has come', () => progress.length === 3);
      gate.resolve();
      expect(await answer).toMatchObject({ epoch: 0 });
      expect(progress).toEqual([1, 2, 3]);
    }
  });

  test('an elicitation is answered by a POST to another node than the one that the call went to, and resolves once', async () => {
    const nodes = await cluster.nodes(3, { tools });
    const { call, asked } = await roundRobin(nodes);
    const questions = Array.from({ length: 12 }, (_, n) => `question ${n}`);
    const told = await Promise.all(questions.map((question) => call('ask', { question })));
    expect(told.map(({ reply }) => reply)).toEqual(questions.map((question) => `answer to ${question}`));
    expect(new Set(asked.filter((each) => each.startsWith('POST'))).size).toBe(3);
  });

  test('a GET stream at a node that does not own the session gets the notifications of its handlers', async () => {
    const [a, b] = await cluster.nodes(2, { tools });
    const session = await AnyNodeSession.open(a!.url);
    const stream = new EventStream(await session.get(b!.url));
    await session.call(a!.url, 'notify', { data: 'one' });
    await session.call(b!.url, 'notify', { data: 'two' });
    expect([(await stream.message()).params.data, (await stream.message()).params.data]).toEqual(['one', 'two']);
    expect((await session.getBeside(a!.url, stream)).status).toBe(409);
  });

  test('a GET stream whose client has lost it is replaced by one at another node', async () => {
    const [a, b, c] = await cluster.nodes(3, { tools });
    const session = await AnyNodeSession.open(a!.url);
    // The proxy before that node reads nothing any more, and closes nothing.
    const dead = await RawSocket.open(b!.url.port);
    const headers = Object.entries({ ...session.headers, accept: 'text/event-stream' });
    await dead.write(requestBytes('GET', '/mcp', headers));
    await dead.head();
    const stream = new EventStream(await soon('the stream is back', session.get(c!.url)));
    await session.call(a!.url, 'notify', { data: 'heard' });
    expect((await stream.message()).params.data).toBe('heard');
    await until('the first is broken off', () => dead.ended);
  });

  test('the SDK’s own GET stream gets them, too', async () => {
    const nodes = await cluster.nodes(2, { tools });
    const { client, call } = await roundRobin(nodes);
    const heard: unknown[] = [];
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.push(params.data));
    await call('notify', { data: 'one' });
    await until('it is heard', () => heard.length === 1);
  });

  test('DELETE at another node ends it everywhere; from then on it is 404 at every node (docs/scaling.md, "What is guaranteed")', async () => {
    const nodes = await cluster.nodes(3);
    const session = await AnyNodeSession.open(nodes[0]!.url);
    await session.call(nodes[1]!.url, 'add');
    expect((await session.delete(nodes[2]!.url)).status).toBe(200);
    expect(nodes[0]!.router.sessions.list()).toEqual([]);
    for (const { url } of nodes) expect(await session.statuses(url)).toEqual([404, 404, 404]);
    expect(nodes[0]!.lines('session closed')).toMatchObject([{ reason: 'deleted' }]);
  });

  test('initialize on a session that lives on another node is 400, as at its own (docs/http.md, alreadyInitialized)', async () => {
    const [a, b] = await cluster.nodes(2);
    const session = await AnyNodeSession.open(a!.url);
    for (const { url } of [a!, b!]) {
      const response = await post(url, initializeBody(7), { 'mcp-session-id': session.id });
      expectRow({ status: response.status, body: await response.text() }, 'alreadyInitialized');
    }
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'a', count: 1 });
  });

  test('a foreign principal gets 404 at every node, by every method, and nothing is built', async () => {
    const nodes = await cluster.nodes(2);
    const session = await AnyNodeSession.open(nodes[0]!.url, { headers: { 'x-principal': 'alice' } });
    for (const { url } of nodes) {
      expect(await session.statuses(url, { 'x-principal': 'mallory' })).toEqual([404, 404, 404]);
    }
    expect(nodes.flatMap(({ contexts }) => contexts)).toHaveLength(1);
    for (const { url } of nodes) expect(await session.call(url, 'echo')).toMatchObject({ node: 'a', epoch: 0 });
    // The same for a session without an owner, which any node could claim.
    await nodes[0]!.close();
    expect(await session.statuses(nodes[1]!.url, { 'x-principal': 'mallory' })).toEqual([404, 404, 404]);
    expect(nodes[1]!.contexts).toEqual([]);
    expect((await cluster.record()).owner).toBe('');
  });

  test('auth and headers reach the handler through a hop as they do without one: the resource is a URL', async () => {
    const resource = new URL('https://mcp.example.com/mcp?a=b');
    const auth = { token: 't', clientId: 'c', scopes: ['one'], expiresAt: 1, resource, extra: { sub: 's', n: [1] } };
    const nodes = await cluster.nodes(2, { tools, auth });
    const session = await AnyNodeSession.open(nodes[0]!.url, { headers: { 'x-custom': 'ä ß' } });
    const [here, there] = [await session.call(nodes[0]!.url, 'who'), await session.call(nodes[1]!.url, 'who')];
    const plain = { ...auth, resource: resource.href };
    for (const told of [here, there]) {
      expect(told).toMatchObject({ node: 'a', authInfo: plain, isUrl: true, headers: { 'x-custom': 'ä ß' } });
    }
  });
});

describe('the two sides of a hop (docs/scaling.md: back-pressure and abort in both directions)', () => {
  test('a client that hangs up at the forwarding node ends the owner’s reply; its call goes on (spec 2025-11-25)', async () => {
    const [a, b] = await cluster.nodes(2, { tools });
    const session = await AnyNodeSession.open(a!.url);
    const hangUp = new AbortController();
    const stream = new EventStream(await session.get(b!.url, {}, hangUp.signal));
    await stream.block();
    expect(a!.router.sessions.get(session.id)!.idleMs).toBe(0);
    const call = post(b!.url, session.body('wait'), session.headers, hangUp.signal).catch(() => undefined);
    const signal = await begun.promise;
    hangUp.abort();
    await call;
    // A stream that is gone can be opened again: its place is free.
    await until('the stream is gone at the owner', async () => {
      const again = await session.get(a!.url);
      await again.body?.cancel();
      return again.status === 200;
    });
    expect(signal.aborted).toBe(false);
    expect(a!.router.sessions.get(session.id)!.requests).toBe(1);
    gate.resolve();
    await until('it is settled', () => a!.router.sessions.get(session.id)!.requests === 0);
  });

  test('a client that hangs up before its reply has begun is waited for no more, though its call goes on', async () => {
    const [a, b] = await cluster.nodes(2, { tools });
    const session = await AnyNodeSession.open(a!.url);
    const hangUp = new AbortController();
    const body = session.body('wait');
    const call = post(b!.url, body, session.headers, hangUp.signal).catch(() => undefined);
    const signal = await begun.promise;
    hangUp.abort();
    await call;
    await soon('it is drained, though the time for it is not over', b!.router.drain(90_000));
    expect([signal.aborted, a!.router.sessions.get(session.id)!.requests]).toEqual([false, 1]);
  });

  test('a stream that broke behind one node is resumed behind another: nothing is missing, nothing comes twice', async () => {
    const eventStore = redisEventStore({ sendCommand: cluster.ask, prefix: cluster.prefix });
    const [a, b, c] = await cluster.nodes(3, { tools, eventStore });
    const session = await AnyNodeSession.open(a!.url);
    const hangUp = new AbortController();
    const body = session.body('steps');
    const stream = new EventStream(await post(b!.url, body, session.headers, hangUp.signal));
    const { id, message } = await stream.event();
    expect(message.params).toMatchObject({ progress: 1 });
    hangUp.abort();
    gate.resolve();
    const resumed = new EventStream(await session.get(c!.url, { 'last-event-id': id! }));
    expect(await soon('it is over', resumed.messages())).toMatchObject([
      { params: { progress: 2 } },
      { params: { progress: 3 } },
      { result: {} },
    ]);
  });

  test('a forwarding node that drains ends the streams behind it well, so that their clients open them elsewhere', async () => {
    const [a, b] = await cluster.nodes(2, { tools });
    const session = await AnyNodeSession.open(a!.url);
    const stream = new EventStream(await session.get(b!.url));
    const drained = b!.router.drain(5_000);
    expect(await soon('the stream ends well', stream.messages())).toEqual([]);
    await drained;
    await until('its place is free', async () => {
      const again = await session.get(a!.url);
      await again.body?.cancel();
      return again.status === 200;
    });
  });

  test('a reader that stalls behind a hop is ended by the owner’s maxStreamBuffer, and costs no node more memory than that', async () => {
    const maxStreamBuffer = 256 * 1024;
    const [a, b] = await cluster.nodes(2, { tools, maxStreamBuffer });
    const session = await RawSession.open(a!.url);
    const reader = await StalledReader.open(b!.http, session);
    await until('the stream is open', () => reader.res.headersSent);
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, reader.res.writableLength)), 5);
    await session.call(1, 'tools/call', { name: 'flood', arguments: { count: '400' } });
    await until('the owner has ended it', async () => {
      const again = await session.get();
      await again.body?.cancel();
      return again.status === 200;
    });
    clearInterval(watch);
    expect(most).toBeLessThan(maxStreamBuffer);
    reader.readAll();
    await until('it is over for its reader, too', () => reader.ended);
    expect(reader.notifications).toBeGreaterThan(0);
    expect(reader.notifications).toBeLessThan(400);
    await soon('the session goes on', session.call(2, 'ping'));
  });
});
