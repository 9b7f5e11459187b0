import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { pino } from 'pino';
import { memoryEventStore, type McpRouterOptions, type McpServerLike } from '../../src/index.js';
import { initializeBody, post, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { answerOf, RawSession } from '../support/raw-session.js';
import { until } from '../support/waiting.js';

// A factory may return anything that has `connect` and `close` (docs/servers.md). What such a server does with its transport
// is up to it, and the SDK's own servers never do most of this.

type Message = Readonly<{ id?: string | number; method?: string }>;

/** A server that hands each message to the test. It answers `initialize` itself. */
class BareServer implements McpServerLike {
  transport!: Transport;
  readonly taken: Message[] = [];
  /** What becomes of a message that is not `initialize`. */
  take: (message: Message) => unknown = () => undefined;
  initialized: object = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    serverInfo: { name: 'bare', version: '1.0.0' },
  };
  /** Called when `initialize` has been answered. */
  afterInitialize: () => unknown = () => undefined;

  async connect(transport: Transport): Promise<void> {
    this.transport = transport;
    transport.onmessage = ((message: Message) => {
      if (message.method !== 'initialize') {
        this.taken.push(message);
        return this.take(message);
      }
      return this.send({ id: message.id, result: this.initialized }).then(() => this.afterInitialize());
    }) as never;
    await transport.start();
  }

  close(): Promise<void> {
    return this.transport.close();
  }

  send(message: object): Promise<void> {
    return this.transport.send({ jsonrpc: '2.0', ...message } as JSONRPCMessage);
  }
}

let server: BareServer;
let harness: Harness;
let log: LogLines;
beforeEach(() => {
  server = new BareServer();
  log = new LogLines();
});
afterEach(() => harness.close());

async function begin(options: Partial<McpRouterOptions> = {}): Promise<void> {
  harness = await start({ serverFactory: () => server, logger: pino({ level: 'warn' }, log), ...options });
}

const MODES: [name: string, options: () => Partial<McpRouterOptions>][] = [
  ['SSE', () => ({})],
  ['SSE, with an event store', () => ({ eventStore: memoryEventStore() })],
  ['JSON', () => ({ enableJsonResponse: true })],
];

describe.each(MODES)('a server without the SDK (%s)', (_, options) => {
  test.each<[what: string, reason: Error]>([
    ['an error', new Error('no luck')],
    ['text', 'no luck' as unknown as Error],
  ])('a request on which its onmessage rejects with %s gets an internal error', async (_what, reason) => {
    await begin(options());
    const session = await RawSession.open(harness.url);
    const reported: unknown[] = [];
    server.transport.onerror = (error) => void reported.push(error);
    server.take = () => Promise.reject(reason);
    expect(await session.call(1, 'work')).toMatchObject({ id: 1, error: { code: -32603 } });
    expect(reported).toEqual([new Error('no luck')]);
    expect(log.text).toContain('the server threw on a message');
  });

  test('a notification on which its onmessage rejects is accepted, and the reason is logged', async () => {
    await begin(options());
    const session = await RawSession.open(harness.url);
    server.take = () => Promise.reject(new Error('no luck'));
    await session.notify('notifications/any');
    await until('the reason is logged', () => log.text.includes('no luck'));
    expect(harness.router.sessions.get(session.id)?.state).toBe('active');
  });

  test('answers without an ID, and to what was never asked, are dropped', async () => {
    server.afterInitialize = () => server.send({ error: { code: -32700, message: 'Parse error' } });
    await begin(options());
    const session = await RawSession.open(harness.url);
    server.take = async ({ id }) => {
      await server.send({ error: { code: -32700, message: 'Parse error' } });
      await server.send({ id: 'never asked', result: {} });
      await server.send({ id, result: { done: true } });
    };
    const response = await session.request(1, 'work');
    expect(await answerOf(response)).toMatchObject({ id: 1, result: { done: true } });
    expect(log.text).toBe('');
  });

  test('an answer without an ID that comes before that to initialize is dropped', async () => {
    const connect = server.connect.bind(server);
    server.connect = async (transport) => {
      await connect(transport);
      const take = transport.onmessage!;
      transport.onmessage = (message) => {
        void server.send({ error: { code: -32700, message: 'Parse error' } });
        transport.onmessage = take;
        take(message);
      };
    };
    await begin(options());
    const session = await RawSession.open(harness.url);
    expect(harness.router.sessions.get(session.id)?.state).toBe('active');
  });

  test('a message that it sends after the end of its session is refused', async () => {
    await begin(options());
    const session = await RawSession.open(harness.url);
    expect((await session.terminate()).status).toBe(200);
    await expect(server.send({ method: 'notifications/any' })).rejects.toThrow('Session closed');
    await expect(server.send({ id: 1, result: {} })).resolves.toBeUndefined();
  });

  test('one that closes its transport when it has answered initialize fails to open: 500, and no session is left', async () => {
    server.afterInitialize = () => server.transport.close();
    await begin(options());
    const response = await post(harness.url, initializeBody());
    expect([response.status, await response.json()]).toMatchObject([500, { error: { code: -32603 } }]);
    expect(log.text).toContain('The server closed its transport while the session was being opened');
    expect(harness.router.sessions.list()).toEqual([]);
  });

  test('one that names no protocol version has the one that its client asked for', async () => {
    server.initialized = { capabilities: {} };
    await begin(options());
    const session = await RawSession.open(harness.url, { version: '2025-06-18' });
    server.take = ({ id }) => server.send({ id, result: {} });
    const stream = await session.stream();
    const { 'mcp-session-id': id } = session.headers;
    const response = await post(harness.url, { jsonrpc: '2.0', id: 1, method: 'work' }, { 'mcp-session-id': id! });
    expect(await answerOf(response)).toMatchObject({ id: 1, result: {} });
    await server.send({ method: 'notifications/any' });
    expect(await stream.message()).toMatchObject({ method: 'notifications/any' });
  });
});
