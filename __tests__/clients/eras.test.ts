import { Random, SEED } from '../chaos/random.js';
import { answersTo, askedBy, textOf } from '../endpoint/asked.js';
import { askingServer } from '../endpoint/asking-server.js';
import { messagesOf, openSession, post, start, type Harness } from '../support/harness.js';
import { call, type PerRequestReply } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { featureServer } from './feature-server.js';
import { connectV1, connectV2, type AnyClient } from './sdk-clients.js';

// One endpoint serves clients of every revision (MCP 2026-07-28, basic/versioning). The clients are those of both SDKs.

const LATEST = '2026-07-28';
const CLIENTS: [string, string, (url: URL) => Promise<AnyClient>][] = [
  ['v1', '2025-11-25', connectV1],
  ['v2', '2025-11-25', connectV2()],
  ['v2 in legacy mode', '2025-11-25', connectV2('legacy')],
  ['v2 in auto mode', LATEST, connectV2('auto')],
  ['v2 pinned to 2026-07-28', LATEST, connectV2({ pin: LATEST })],
];

let harness: Harness;
/** Of the tool `hold`. */
let holding: Deferred;
let aborted: Deferred;
beforeEach(async () => {
  [holding, aborted] = [new Deferred(), new Deferred()];
  harness = await start({
    perRequest: true,
    serverFactory: () => {
      const server = featureServer();
      server.registerTool('hold', {}, async ({ signal }) => {
        signal.addEventListener('abort', () => aborted.resolve());
        holding.resolve();
        await aborted.promise;
        return { content: [] };
      });
      return server;
    },
  });
});
afterEach(async () => {
  aborted.resolve();
  await harness.close();
});

test.each(CLIENTS)(
  "the SDK's client %s speaks %s with a server of SDK v1: lists, calls, answers, hears progress, cancels",
  async (_name, version, connect) => {
    const client = await connect(harness.url);
    expect(client.version).toBe(version);
    expect(harness.router.sessions.list()).toHaveLength(version === LATEST ? 0 : 1);
    expect(await client.list()).toContain('echo');
    expect(await client.call('echo', { text: 'hello' })).toBe('hello');
    expect(await client.call('ask')).toBe('Ada');
    expect(await client.steps(5)).toEqual([1, 2, 3, 4, 5]);
    const cancelling = new AbortController();
    const held = client.call('hold', {}, cancelling.signal).catch(() => 'cancelled');
    await holding.promise;
    cancelling.abort();
    expect(await held).toBe('cancelled');
    await aborted.promise;
    await client.close();
    await until('no session is open', () => harness.router.sessions.list().length === 0);
  },
);

test('clients of both eras call one endpoint at once, and each gets its own answers', async () => {
  const clients = await Promise.all(CLIENTS.map(([, , connect]) => connect(harness.url)));
  const rounds = Array.from({ length: 20 }, (_, round) => round);
  await Promise.all(
    clients.flatMap((client, index) =>
      rounds.map(async (round) => {
        const text = `${index}-${round}`;
        expect(await client.call('echo', { text })).toBe(text);
      }),
    ),
  );
  await Promise.all(clients.map((client) => client.close()));
});

// `npm run check:long` sets more.
const FLIPS = Number(process.env.ERA_FLIPS ?? 1_000);
const LANES = 8;

test(`a client that changes its era at random gets only right answers: ${FLIPS} requests of one principal`, async () => {
  const both = await start({
    perRequest: { servers: 'principal' },
    principal: () => 'alice',
    serverFactory: () => askingServer(),
  });
  const random = new Random(SEED);
  const wrong: unknown[] = [];
  const count = { session: 0, request: 0 };
  const expectSame = (got: unknown, expected: string, how: string): void => {
    if (got !== expected) wrong.push({ how, got, expected });
  };

  const inSession = async (session: string, id: number, a: number, b: number): Promise<void> => {
    const params = { name: 'add', arguments: { a, b } };
    const response = await post(
      both.url,
      { jsonrpc: '2.0', id, method: 'tools/call', params },
      { 'mcp-session-id': session },
    );
    const [answer] = messagesOf(await response.text()) as { id: number; result: { resultType?: string } }[];
    const text = textOf({ result: answer?.result } as unknown as PerRequestReply);
    expectSame(`${answer?.id} ${text} ${answer?.result.resultType}`, `${id} ${a + b} undefined`, 'session');
    count.session += 1;
  };
  const perRequest = async (session: string, id: number, a: number, b: number): Promise<void> => {
    // The ID of a session is ignored (basic/transports/streamable-http).
    const headers = id % 2 === 0 ? { 'mcp-session-id': session } : {};
    const reply = await call(both.url, 'add', { a, b }, { id, headers });
    const { id: answered } = reply as unknown as { id: number };
    expectSame(
      `${answered} ${textOf(reply)} ${String(reply.result?.resultType)}`,
      `${id} ${a + b} complete`,
      'request',
    );
    count.request += 1;
  };
  const asking = async (session: string, id: number, a: number): Promise<void> => {
    const request = { capabilities: { elicitation: {} }, headers: { 'mcp-session-id': session } };
    const greeting = { greeting: `Hi ${a}` };
    const asked = askedBy(await call(both.url, 'greet', greeting, { ...request, id }));
    await inSession(session, id, a, 1);
    const params = { requestState: asked.requestState, inputResponses: answersTo(asked, { 'Name?': `${id}` }) };
    expectSame(textOf(await call(both.url, 'greet', greeting, { ...request, id, params })), `Hi ${a} ${id}`, 'asked');
    count.request += 2;
  };

  let next = 1;
  const lane = async (): Promise<void> => {
    let session = await openSession(both.url);
    while (next <= FLIPS) {
      const id = next;
      next += 1;
      const [kind, a, b] = [random.integer(0, 100), random.integer(0, 1_000_000), random.integer(0, 1_000_000)];
      if (kind < 45) await inSession(session, id, a, b);
      else if (kind < 94) await perRequest(session, id, a, b);
      else if (kind < 98) await asking(session, id, a);
      else {
        await fetch(both.url, { method: 'DELETE', headers: { 'mcp-session-id': session } });
        session = await openSession(both.url);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  expect(wrong.slice(0, 5)).toEqual([]);
  expect(Math.min(count.session, count.request)).toBeGreaterThan(FLIPS / 4);
  expect(both.router.sessions.list()).toHaveLength(LANES);
  await both.close();
}, 1_800_000);
