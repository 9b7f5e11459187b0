import { ElicitResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { ERRORS } from '../../src/errors.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { EventStream } from '../support/event-stream.js';
import { answerOf } from '../support/raw-session.js';
import { Deferred, never, soon, until } from '../support/waiting.js';
import { AnyNodeSession, toldBy } from './any-node.js';
import { InProcessCluster, type InProcessNode, type Tool } from './in-process.js';

let cluster: InProcessCluster;
let a: InProcessNode;
let b: InProcessNode;
let gate: Deferred;
let begun: Deferred;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
beforeEach(async () => {
  [gate, begun] = [new Deferred(), new Deferred()];
  [a, b] = (await cluster.nodes(2, { tools, times: { routing: 'migrate' } })) as [InProcessNode, InProcessNode];
});
afterEach(async () => {
  gate.resolve();
  await cluster.clear();
});
afterAll(() => cluster.stop());

const tools: Readonly<Record<string, Tool>> = {
  async wait() {
    begun.resolve();
    await gate.promise;
  },
  async ask({ extra }) {
    const requestedSchema = { type: 'object' as const, properties: { reply: { type: 'string' as const } } };
    const params = { mode: 'form' as const, message: '?', requestedSchema };
    const { content } = await extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema);
    return { reply: content?.reply };
  },
};

/** Until every message has been read. */
const lettersRead = (): Promise<void> =>
  until('the owner has been asked', async () => {
    const inboxes = await cluster.ask('KEYS', `${cluster.prefix}mailbox:*`);
    return (inboxes as string[]).length === 0;
  });

describe('routing: migrate (docs/scaling.md)', () => {
  test('moves the session to the node that is asked, with its state; each change of owner is one line', async () => {
    const session = await AnyNodeSession.open(a.url);
    const told = [];
    for (const node of [a, b, b, a]) told.push(await session.call(node.url, 'add'));
    expect(told).toEqual([
      { node: 'a', epoch: 0, count: 1 },
      { node: 'b', epoch: 1, count: 2 },
      { node: 'b', epoch: 1, count: 3 },
      { node: 'a', epoch: 2, count: 4 },
    ]);
    expect(a.lines('session closed')).toMatchObject([{ reason: 'moved' }]);
    expect([...b.lines('session claimed'), ...a.lines('session claimed')]).toMatchObject([{ epoch: 1 }, { epoch: 2 }]);
  });

  test('no node opens a connection to another', async () => {
    const session = await AnyNodeSession.open(a.url);
    await session.call(b.url, 'add');
    expect(await b.metrics()).toContain('mcp_cluster_forwarded_total{outcome="answered"} 0');
  });

  test('a session with a running call moves after its answer, and a request at the other node waits', async () => {
    const session = await AnyNodeSession.open(a.url);
    const waiting = session.call(a.url, 'wait');
    await begun.promise;
    const asked = session.call(b.url, 'add');
    await lettersRead();
    gate.resolve();
    expect(await waiting).toMatchObject({ node: 'a', epoch: 0 });
    expect(await soon('the held call is done', asked)).toMatchObject({ node: 'b', epoch: 1, count: 1 });
  });

  test('a request is 503 after claimTimeout if the owner cannot give the session up, and has no effect', async () => {
    const session = await AnyNodeSession.open(a.url);
    const waiting = session.call(a.url, 'wait');
    await begun.promise;
    const response = await session.request(b.url, 'add');
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    gate.resolve();
    await waiting;
    expect(await session.call(b.url, 'add')).toMatchObject({ count: 1 });
  });

  test('an answer to a question of the server reaches the waiting call from any node', async () => {
    const session = await AnyNodeSession.open(a.url);
    const stream = new EventStream(await session.request(a.url, 'ask'));
    const { id } = await stream.message();
    const result = { action: 'accept', content: { reply: 'yes' } };
    expect((await session.post(b.url, { jsonrpc: '2.0', id, result })).status).toBe(202);
    expect(toldBy(await stream.message())).toMatchObject({ node: 'a', reply: 'yes' });
  });

  test('an answer of another principal reaches no call', async () => {
    const session = await AnyNodeSession.open(a.url, { headers: { 'x-principal': 'alice' } });
    const stream = new EventStream(await session.request(a.url, 'ask'));
    const { id } = await stream.message();
    const answer = (reply: string) => ({ jsonrpc: '2.0', id, result: { action: 'accept', content: { reply } } });
    await session.post(b.url, answer('of another'), { 'x-principal': 'bob' });
    await session.post(b.url, answer('own'));
    expect(toldBy(await stream.message())).toMatchObject({ reply: 'own' });
  });

  test('a session that its owner claimed again is asked for until it moves', async () => {
    const session = await AnyNodeSession.open(a.url);
    const first = session.call(a.url, 'wait');
    await begun.promise;
    const hold = new Deferred();
    const asks = new Deferred();
    let holds = false;
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        if (holds && command[0] === 'HMGET') await hold.promise;
        const reply = await send(...command);
        if (command[0] !== 'LPOP' && command[3]?.includes('mailbox:') === true) asks.resolve();
        return reply;
      };
    const c = await cluster.node({ name: 'c', tap, times: { routing: 'migrate' } });
    const held = session.call(c.url, 'add');
    await asks.promise;
    holds = true;
    await lettersRead();
    gate.resolve();
    await first;
    await until('it has left', () => a.router.sessions.list().length === 0);
    expect(await session.call(a.url, 'add')).toMatchObject({ node: 'a', epoch: 1, count: 1 });
    hold.resolve();
    expect(await soon('it is served', held)).toMatchObject({ node: 'c', epoch: 2, count: 2 });
  });

  test('a node from which the session has moved passes a message on to the new owner', async () => {
    const hold = new Deferred();
    const asks = new Deferred();
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        if (command[0] !== 'LPOP' && command[3]?.includes('mailbox:') === true) {
          asks.resolve();
          await hold.promise;
        }
        return send(...command);
      };
    const session = await AnyNodeSession.open(a.url);
    const c = await cluster.node({ name: 'c', tap, times: { routing: 'migrate' } });
    const wait = session.body('wait') as { id: number };
    const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: wait.id } };
    const said = session.post(c.url, cancelled);
    await asks.promise;
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'b', epoch: 1 });
    const waiting = session.post(b.url, wait);
    await begun.promise;
    hold.resolve();
    expect((await said).status).toBe(202);
    const reply = await soon('the call is cancelled', waiting);
    expect(await reply.text()).not.toContain('"result"');
  });

  test.each([
    ['1,000 messages', 1_000, 'x'],
    ['8 MiB', 9, 'x'.repeat(1024 * 1024)],
  ])(
    'what the client said gets 503 where the owner has left %s unread, and nothing is stored',
    async (_what, times, text) => {
      // This owner reads nothing.
      const tap =
        (send: SendCommand): SendCommand =>
        (...command) =>
          command[0] === 'LPOP' ? never() : send(...command);
      const c = await cluster.node({ name: 'c', tap, times: { routing: 'migrate' } });
      const session = await AnyNodeSession.open(c.url);
      const key = `${cluster.prefix}mailbox:${(await cluster.record()).owner}`;
      const say = () => session.post(a.url, { jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
      expect((await say()).status).toBe(202);
      await cluster.ask('RPUSH', key, ...Array<string>(times).fill(text));
      const length = await cluster.ask('LLEN', key);
      const refused = await say();
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
      expect(await refused.json()).toMatchObject({ error: { message: ERRORS.ownerUnreachable.message } });
      expect(await cluster.ask('LLEN', key)).toBe(length);
      await cluster.ask('DEL', key);
      expect((await say()).status).toBe(202);
    },
  );

  test('a draining node moves no session to itself', async () => {
    const session = await AnyNodeSession.open(a.url);
    const draining = b.router.drain(1_000);
    expect((await session.request(b.url, 'add')).status).toBe(503);
    expect(await session.call(a.url, 'add')).toMatchObject({ node: 'a', epoch: 0 });
    expect(a.lines('session closed')).toEqual([]);
    await draining;
  });

  test('another principal can neither move, end nor answer a session, and gets the same 404 as for a missing one', async () => {
    const session = await AnyNodeSession.open(a.url, { headers: { 'x-principal': 'alice' } });
    const bob = { 'x-principal': 'bob' };
    expect(await session.statuses(b.url, bob)).toEqual([404, 404, 404]);
    const said = await session.post(b.url, { jsonrpc: '2.0', method: 'notifications/roots/list_changed' }, bob);
    expect(said.status).toBe(404);
    // A message that reaches the mailbox all the same must name the principal.
    const running = session.call(a.url, 'wait');
    await begun.promise;
    const { owner } = await cluster.record();
    const body = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };
    const tell = async (action: string, principal: string): Promise<void> => {
      const message = { sessionId: session.id, action, by: { principal }, body };
      await cluster.ask('RPUSH', `${cluster.prefix}mailbox:${owner}`, JSON.stringify(message));
      await lettersRead();
    };
    for (const action of ['handOff', 'end', 'take']) await tell(action, 'bob');
    gate.resolve();
    expect(await running).toMatchObject({ node: 'a', epoch: 0 });
    expect(a.lines('session closed')).toEqual([]);
  });

  test.each<[string, (session: AnyNodeSession) => Promise<unknown>, unknown]>([
    ['its DELETE', async (session: AnyNodeSession) => (await session.delete(b.url)).status, 200],
    ['sessions.close', (session: AnyNodeSession) => b.router.sessions.close(session.id), true],
    ['closeByPrincipal', () => b.router.sessions.closeByPrincipal('alice'), 1],
  ])(
    '%s at any node ends a session at once, with what runs in it: nothing is waited for',
    async (_what, end, answer) => {
      const session = await AnyNodeSession.open(a.url, { headers: { 'x-principal': 'alice' } });
      const running = session.request(a.url, 'wait');
      await begun.promise;
      expect(await soon('it is ended', end(session))).toBe(answer);
      expect(await answerOf(await soon('the call is over', running))).toMatchObject({
        error: { message: expect.stringContaining('closed') },
      });
      expect(await session.statuses(a.url)).toEqual([404, 404, 404]);
      expect(await session.statuses(b.url)).toEqual([404, 404, 404]);
    },
  );

  test('a GET stream moves it, too; DELETE and sessions.close end it from any node', async () => {
    const session = await AnyNodeSession.open(a.url);
    const stream = await session.get(b.url);
    expect(stream.status).toBe(200);
    expect(b.router.sessions.get(session.id)).toBeDefined();
    expect((await session.delete(a.url)).status).toBe(200);
    expect(await session.statuses(b.url)).toEqual([404, 404, 404]);
    const other = await AnyNodeSession.open(a.url);
    expect(await b.router.sessions.close(other.id)).toBe(true);
    expect(await other.statuses(a.url)).toEqual([404, 404, 404]);
  });
});
