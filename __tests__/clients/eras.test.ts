import { start, type Harness } from '../support/harness.js';
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
