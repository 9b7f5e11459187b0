import { announcingServer } from '../endpoint/announcing-server.js';
import { EventStream } from '../support/event-stream.js';
import { subscribe } from '../support/per-request.js';
import { soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, type InProcessNode, type InProcessNodeInit } from './in-process.js';

// `router.notify` on three nodes (docs/notify.md, "In a cluster").

const TOOLS = 'notifications/tools/list_changed';
const URI = 'test://notes/1';

const cluster = InProcessCluster.ofSuite();

type Nodes = [InProcessNode, InProcessNode, InProcessNode];

const nodesWith = (init: InProcessNodeInit = {}): Promise<Nodes> =>
  cluster.nodes(3, { serverFactory: () => announcingServer().server, ...init }) as Promise<unknown> as Promise<Nodes>;

const open = (node: InProcessNode, user: string) => AnyNodeSession.open(node.url, { headers: { 'x-principal': user } });

async function listen(node: InProcessNode, user: string): Promise<EventStream> {
  return (await subscribe(node.url, { toolsListChanged: true }, { headers: { 'x-principal': user } })).stream;
}

const log = (data: string) => ({ method: 'notifications/message', params: { level: 'info', data } });

describe('router.notify in a cluster', () => {
  test('reaches the streams of every node and of both eras, each once, and adds up the counts', async () => {
    const nodes = await nodesWith({ perRequest: true });
    const sessions = await Promise.all(nodes.map((node) => open(node, 'alice')));
    await open(nodes[2], 'bob');
    // The stream of the second session comes through another node than its owner.
    const entries = [nodes[0], nodes[2], nodes[2]];
    const streams = await Promise.all(
      sessions.map(async (session, i) => new EventStream(await session.get(entries[i]!.url))),
    );
    streams.push(await listen(nodes[1], 'alice'));
    const [{ router }] = nodes;
    expect(await router.notify.toolListChanged()).toEqual({ delivered: 4, stored: 0, dropped: 1 });
    expect(await router.notify.toolListChanged({ principal: 'alice' })).toEqual({
      delivered: 4,
      stored: 0,
      dropped: 0,
    });
    expect(await router.notify.toolListChanged({ principal: 'bob' })).toEqual({ delivered: 0, stored: 0, dropped: 1 });
    await router.notify.resourceListChanged();
    for (const [i, stream] of streams.entries()) {
      expect((await stream.message()).method).toBe(TOOLS);
      expect((await stream.message()).method).toBe(TOOLS);
      if (i < 3) expect((await stream.message()).method).toBe('notifications/resources/list_changed');
    }
  });

  test('finds one session, and the subscribers of a resource, on any node', async () => {
    const nodes = await nodesWith();
    const [one, other] = [await open(nodes[1], 'alice'), await open(nodes[2], 'alice')];
    const stream = new EventStream(await one.get(nodes[1].url));
    await other.get(nodes[2].url);
    const subscribe = { jsonrpc: '2.0', id: 'sub', method: 'resources/subscribe', params: { uri: URI } };
    await (await one.post(nodes[0].url, subscribe)).text();
    const { notify } = nodes[0].router;
    expect(await notify.resourceUpdated(URI)).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect(await notify.send(log('one'), { session: one.id })).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect(await notify.send(log('none'), { session: 'none' })).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    expect((await stream.message()).method).toBe('notifications/resources/updated');
    expect((await stream.message()).params.data).toBe('one');
  });

  test('keeps the order of calls, and sends what waits for a node together', async () => {
    const nodes = await nodesWith();
    const session = await open(nodes[1], 'alice');
    const stream = new EventStream(await session.get(nodes[1].url));
    const text = 'x'.repeat(1_000);
    const all = Array.from({ length: 300 }, (_, n) => nodes[0].router.notify.send(log(`${n} ${text}`)));
    for (const n of all.keys()) expect((await stream.message()).params.data).toBe(`${n} ${text}`);
    expect(await Promise.all(all)).toEqual(all.map(() => ({ delivered: 1, stored: 0, dropped: 0 })));
  });

  test('does not count a node that has gone, and goes on without it', async () => {
    const nodes = await nodesWith();
    const sessions = [await open(nodes[0], 'alice'), await open(nodes[1], 'alice')] as const;
    const here = new EventStream(await sessions[0].get(nodes[0].url));
    const { notify } = nodes[0].router;
    await nodes[1].router.close();
    await soon('the notification is counted', notify.toolListChanged());
    expect((await here.message()).method).toBe(TOOLS);
    await until('the node has left', async () => (await notify.toolListChanged()).delivered === 1);
  });

  test('reaches the clients of the same node alone where nodes cannot reach each other', async () => {
    const [a, b] = await nodesWith({ times: { routing: 'migrate' } });
    await open(a, 'alice');
    await open(b, 'bob');
    expect(await a.router.notify.toolListChanged()).toEqual({ delivered: 0, stored: 0, dropped: 1 });
  });
});
