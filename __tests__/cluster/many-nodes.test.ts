import { EventStream } from '../support/event-stream.js';
import { until } from '../support/waiting.js';
import { Random, SEED } from '../chaos/random.js';
import { AnyNodeSession, toldBy } from './any-node.js';
import { tally, type ClusterClient } from './clients.js';
import { LONG_LEASE, START_TIMEOUT, startCluster, type Cluster } from './cluster.js';

/** `npm run chaos` sets more. */
const CLIENTS = Number(process.env.CLUSTER_CLIENTS ?? 20);
const ANSWERS = Number(process.env.CLUSTER_ANSWERS ?? 120);
const ROUNDS = 3;
/** Sessions that are asked at once, and questions that one of them has open at once. */
const ASKED = 10;
const OPEN = 5;

const random = new Random(SEED);
const oneOf = <T>(choices: readonly T[]): T => choices[random.integer(0, choices.length)]!;

let cluster: Cluster;
let urls: readonly URL[];
beforeAll(async () => {
  cluster = await startCluster({ options: LONG_LEASE });
  urls = cluster.nodes.map(({ url }) => url);
  process.stdout.write(`many-nodes, CHAOS_SEED=${SEED}\n`);
}, START_TIMEOUT);
afterAll(() => cluster.close());
afterEach(() => expect(cluster.nodes.map(({ health }) => health)).toEqual(cluster.nodes.map(() => 'alive')));

/** What clients should not see; each alone seldom tells why. */
const troubles = (clients: readonly ClusterClient[]) => ({
  wrong: tally(clients.flatMap(({ wrong }) => wrong)),
  complaints: tally(clients.flatMap(({ complaints }) => complaints)),
});

/** All that a client does in one round; much of it at once, so that answers could overtake one another. */
async function round(client: ClusterClient): Promise<void> {
  const [, steps] = await Promise.all([client.add(), client.slow(100, 20), client.echo(), client.ask(), client.echo()]);
  if (steps.join() !== '1,2,3,4,5') client.wrong.push(`progress: ${steps.join()}`);
  await client.notify();
}

test(
  `behind plain round-robin, ${CLIENTS} clients of the SDK see no error and no crossed answer (docs/scaling.md): calls, progress, elicitation, notifications, DELETE`,
  async () => {
    const clients = await cluster.clients(CLIENTS);
    await Promise.all(clients.map((client) => client.listens()));
    const noted = (client: ClusterClient): Promise<unknown> =>
      round(client).catch((error: unknown) => client.wrong.push(String(error)));
    for (let n = 0; n < ROUNDS; n += 1) await Promise.all(clients.map(noted));
    expect(troubles(clients)).toEqual({ wrong: {}, complaints: {} });
    await Promise.all(clients.map((client) => client.heardAll()));
    const owners = await Promise.all(clients.map((client) => client.add()));
    expect(new Set(owners.map(({ pid }) => pid)).size).toBe(cluster.nodes.length);
    expect(clients.map(({ counted }) => counted)).toEqual(clients.map(() => ROUNDS + 1));

    // Each node knows the sessions of all.
    const ids = clients.map(({ id }) => id).sort();
    for (const node of cluster.nodes) expect((await node.sessions()).map(({ id }) => id).sort()).toEqual(ids);

    expect(troubles(clients)).toEqual({ wrong: {}, complaints: {} });
    const end = async (client: ClusterClient): Promise<void> => {
      await client.transport.terminateSession();
      await client.close();
    };
    await Promise.all(clients.map(end));
    for (const node of cluster.nodes) expect(await node.sessions()).toEqual([]);
  },
  60_000 + CLIENTS * 500,
);

test('DELETE at any node is final at all nodes: 404 to every method at once (spec 2025-11-25, Session Management 3 and 5)', async () => {
  for (const opened of urls) {
    for (const deleted of urls) {
      const session = await AnyNodeSession.open(opened);
      expect((await session.delete(deleted)).status).toBe(200);
      for (const asked of urls) expect(await session.statuses(asked)).toEqual([404, 404, 404]);
    }
  }
});

test('a session of another principal, or without one, is the same 404 at every node as an unknown session (docs/http.md, sessionNotFound)', async () => {
  const [opened] = urls;
  const session = await AnyNodeSession.open(opened!, { headers: { 'x-principal': 'alice' } });
  const foreign = [{ 'x-principal': 'bob' }, { 'x-principal': '' }, { 'mcp-session-id': crypto.randomUUID() }];
  for (const url of urls) {
    for (const headers of foreign) expect(await session.statuses(url, headers)).toEqual([404, 404, 404]);
    expect((await session.call(url, 'echo', { text: 'mine' })).text).toBe('mine');
  }
});

test('a second GET is 409 at whichever node while one is open; one with Last-Event-ID of that stream replaces it (docs/http.md, "The order of the checks")', async () => {
  for (const opened of urls) {
    const session = await AnyNodeSession.open(oneOf(urls));
    const hangUp = new AbortController();
    const stream = new EventStream(await session.get(opened, {}, hangUp.signal));
    const { id } = (await stream.block())!;
    for (const asked of urls) {
      const second = await session.getBeside(asked, stream);
      await second.body?.cancel();
      expect(second.status).toBe(409);
    }

    const taker = oneOf(urls);
    const taken = new EventStream(await session.get(taker, { 'last-event-id': id! }, hangUp.signal));
    await stream.blocks();
    await session.call(oneOf(urls), 'notify', { data: 'to whoever listens now' });
    expect((await taken.message()).params.data).toBe('to whoever listens now');

    // Hung up by its client at one node, it can be opened at any.
    hangUp.abort();
    const again = oneOf(urls);
    await until('the stream is free', async () => {
      const response = await session.get(again);
      await response.body?.cancel();
      return response.status === 200;
    });
    await session.delete(again);
  }
});

/** What a server may ask its client, by the tool that does. */
const ASKS = [
  ['ask', 'elicitation/create', (reply: string) => ({ action: 'accept', content: { reply } })],
  [
    'sample',
    'sampling/createMessage',
    (reply: string) => ({ role: 'assistant', model: 'none', content: { type: 'text', text: reply } }),
  ],
  ['roots', 'roots/list', (reply: string) => ({ roots: [{ uri: 'file:///root', name: reply }] })],
] as const;

/** Has a tool ask its client, and the client answer twice, at nodes by chance: what was accepted first is the answer. */
async function askOnce(session: AnyNodeSession, number: number): Promise<void> {
  const [tool, method, resultOf] = ASKS[number % ASKS.length]!;
  const question = `question ${number}`;
  const stream = await session.stream(oneOf(urls), tool, { question });
  const asked = await stream.message();
  expect(asked.method).toBe(method);
  const answer = async (reply: string): Promise<number> => {
    const result = resultOf(reply);
    const response = await session.post(oneOf(urls), { jsonrpc: '2.0', id: asked.id, result });
    await response.body?.cancel();
    return response.status;
  };
  expect(await answer(`first to ${question}`)).toBe(202);
  expect(await answer(`second to ${question}`)).toBe(202);
  const [message, ...more] = await stream.messages();
  expect(toldBy(message)).toMatchObject({ session: session.id, question, reply: `first to ${question}` });
  expect(more).toEqual([]);
}

test(
  `${ANSWERS} answers to elicitation, sampling and roots, POSTed at random nodes, each resolve the one request that they are for, exactly once (docs/scaling.md)`,
  async () => {
    const capabilities = { elicitation: {}, sampling: {}, roots: {} };
    const sessions = await Promise.all(
      Array.from({ length: ASKED }, () => AnyNodeSession.open(oneOf(urls), { capabilities })),
    );
    let asked = 0;
    const keepAsking = async (session: AnyNodeSession): Promise<void> => {
      while (asked < ANSWERS) await askOnce(session, (asked += 1));
    };
    await Promise.all(sessions.flatMap((session) => Array.from({ length: OPEN }, () => keepAsking(session))));
    expect(asked).toBeGreaterThanOrEqual(ANSWERS);
  },
  60_000 + ANSWERS * 100,
);
