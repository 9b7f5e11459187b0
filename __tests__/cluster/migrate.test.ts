import { ElicitResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { EventStream } from '../support/event-stream.js';
import { Deferred, soon, until } from '../support/waiting.js';
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

  test('no node opens a connection to another: nothing is told of where it listens but its lease', async () => {
    const session = await AnyNodeSession.open(a.url);
    await session.call(b.url, 'add');
    expect(await b.metrics()).toContain('mcp_cluster_forwarded_total{outcome="answered"} 0');
  });

  test('a session with a call under way is handed over when that is answered; who asks is held meanwhile', async () => {
    const session = await AnyNodeSession.open(a.url);
    const waiting = session.call(a.url, 'wait');
    await begun.promise;
    const asked = session.call(b.url, 'add');
    await until('the owner has been asked', async () => {
      const inboxes = await cluster.ask('KEYS', `${cluster.prefix}inbox:*`);
      return (inboxes as string[]).length === 0;
    });
    gate.resolve();
    expect(await waiting).toMatchObject({ node: 'a', epoch: 0 });
    expect(await soon('the held call is done', asked)).toMatchObject({ node: 'b', epoch: 1, count: 1 });
  });

  test('is 503 after claimTimeout where the owner cannot let go of it, and nothing was done', async () => {
    const session = await AnyNodeSession.open(a.url);
    const waiting = session.call(a.url, 'wait');
    await begun.promise;
    const response = await session.request(b.url, 'add');
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    gate.resolve();
    await waiting;
    expect(await session.call(b.url, 'add')).toMatchObject({ count: 1 });
  }, 20_000);

  test('an answer to what the server asked reaches the call that waits for it, whichever node it was given to', async () => {
    const session = await AnyNodeSession.open(a.url);
    const stream = new EventStream(await session.request(a.url, 'ask'));
    const { id } = await stream.message();
    const result = { action: 'accept', content: { reply: 'yes' } };
    expect((await session.post(b.url, { jsonrpc: '2.0', id, result })).status).toBe(202);
    expect(toldBy(await stream.message())).toMatchObject({ node: 'a', reply: 'yes' });
  });

  test('an answer of another principal reaches nobody', async () => {
    const session = await AnyNodeSession.open(a.url, { headers: { 'x-principal': 'alice' } });
    const stream = new EventStream(await session.request(a.url, 'ask'));
    const { id } = await stream.message();
    const answer = (reply: string) => ({ jsonrpc: '2.0', id, result: { action: 'accept', content: { reply } } });
    await session.post(b.url, answer('of another'), { 'x-principal': 'bob' });
    await session.post(b.url, answer('own'));
    expect(toldBy(await stream.message())).toMatchObject({ reply: 'own' });
  });

  test('DELETE, sessions.close and a GET stream move it, too', async () => {
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
