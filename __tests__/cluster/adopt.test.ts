import { EventStream } from '../support/event-stream.js';
import { soon } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, type InProcessNode, type InProcessNodeInit } from './in-process.js';

const ALICE = { 'x-principal': 'alice' };
const BOB = { 'x-principal': 'bob' };

let a: InProcessNode;
let b: InProcessNode;
const cluster = InProcessCluster.ofSuite();

async function start(options: InProcessNodeInit = {}): Promise<void> {
  [a, b] = (await cluster.nodes(2, { adoptAnonymous: true, ...options })) as [InProcessNode, InProcessNode];
}

async function statusOf(
  session: AnyNodeSession,
  node: InProcessNode,
  headers: Record<string, string> = {},
): Promise<number> {
  const response = await session.post(node.url, session.body('echo'), headers);
  await response.text();
  return response.status;
}

/** Who the session's server was built for last, on whichever node. */
const principals = (): (string | undefined)[] => [...a.contexts, ...b.contexts].map(({ principal }) => principal);

describe.each(['forward', 'migrate'] as const)(
  'adoptAnonymous with routing: %s (docs/identity.md, "Lazy sign-in")',
  (routing) => {
    test('a request at any node adopts; from then on no other principal and none is answered at any node', async () => {
      await start({ times: { routing } });
      const session = await AnyNodeSession.open(a.url);
      await session.call(a.url, 'add');
      const stream = new EventStream(await session.get(a.url));
      expect(await statusOf(session, b, ALICE)).toBe(200);
      await soon('the stream without a principal has ended', stream.blocks());
      expect(principals()).toEqual([undefined, 'alice']);
      for (const node of [a, b]) {
        for (const headers of [BOB, {}]) expect(await statusOf(session, node, headers)).toBe(404);
      }
      expect((await session.delete(a.url)).status).toBe(404);
      expect(await statusOf(session, a, ALICE)).toBe(200);
      expect((await session.delete(b.url, ALICE)).status).toBe(200);
      expect(await statusOf(session, a, ALICE)).toBe(404);
    });

    test('of two principals at two nodes one has it', async () => {
      await start({ times: { routing } });
      const session = await AnyNodeSession.open(a.url);
      const statuses = await Promise.all([statusOf(session, a, ALICE), statusOf(session, b, BOB)]);
      expect(statuses.sort()).toEqual([200, 404]);
    });

    test('it counts among the principal’s sessions on all nodes, and closeByPrincipal ends it', async () => {
      await start({ times: { routing }, maxSessionsPerPrincipal: 2 });
      const own = await Promise.all([a, b].map((node) => AnyNodeSession.open(node.url, { headers: ALICE })));
      const streams = await Promise.all(own.map((each, n) => each.get([a, b][n]!.url)));
      const session = await AnyNodeSession.open(a.url);
      expect(await statusOf(session, a, ALICE)).toBe(503);
      expect(await statusOf(session, a)).toBe(200);
      await own[0]!.delete(a.url);
      expect(await statusOf(session, a, ALICE)).toBe(200);
      expect(await b.router.sessions.closeByPrincipal('alice')).toBe(2);
      expect(await statusOf(session, b, ALICE)).toBe(404);
      for (const stream of streams) await stream.body?.cancel();
    });
  },
);

test('a session of a node that has gone is adopted by the node that takes it over', async () => {
  await start();
  const session = await AnyNodeSession.open(a.url);
  await session.call(a.url, 'add');
  await a.close();
  expect(await statusOf(session, b, ALICE)).toBe(200);
  expect(await statusOf(session, b)).toBe(404);
  expect(await b.router.sessions.closeByPrincipal('alice')).toBe(1);
});
