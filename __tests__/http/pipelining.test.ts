import { EventEmitter, once } from 'node:events';
import type { Socket } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import { FakeClock } from '../support/fake-clock.js';
import {
  echoCall,
  initializeBody,
  JSON_HEADERS,
  messagesOf,
  openSession,
  start,
  type Harness,
} from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';

const TTL = 60_000;
const post = (session: string | undefined, body: unknown) =>
  requestBytes(
    'POST',
    '/mcp',
    [...Object.entries(JSON_HEADERS), ...(session === undefined ? [] : ([['Mcp-Session-Id', session]] as const))],
    JSON.stringify(body),
  );

describe('requests that are sent before the answers to earlier ones have come (RFC 9112, 9.3.2)', () => {
  const clock = new FakeClock();
  const calls = new EventEmitter();
  let harness: Harness;
  let socket: RawSocket;
  let serverSide: Socket;
  beforeEach(async () => {
    harness = await start({ clock, ttl: TTL, orphanAfter: 1_000, serverFactory });
    const accepted = once(harness.http, 'connection');
    socket = await RawSocket.open(harness.url.port);
    [serverSide] = (await accepted) as [Socket];
  });
  afterEach(async () => {
    socket.destroy();
    await harness.close();
  });

  function serverFactory(): McpServer {
    const server = new McpServer({ name: 'counting', version: '1.0.0' });
    server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => {
      calls.emit(text);
      return { content: [{ type: 'text', text }] };
    });
    return server;
  }

  /** Sends calls with answers that the socket never takes, and waits until the last has been answered. */
  async function sendCalls(session: string, count: number, name: string): Promise<void> {
    const last = once(calls, `${name} ${count}`);
    const bodies = Array.from({ length: count }, (_, id) => echoCall(`${name} ${id + 1}`, `${name} ${id + 1}`));
    await socket.write(Buffer.concat(bodies.map((body) => post(session, body))));
    await last;
    while (harness.router.sessions.get(session)!.requests > 0) await new Promise(setImmediate);
  }

  /** Opens a standalone stream on the socket, which no later answer can pass. */
  async function openStream(session: string): Promise<void> {
    await socket.write(
      requestBytes('GET', '/mcp', [
        ['Accept', 'text/event-stream'],
        ['Mcp-Session-Id', session],
      ]),
    );
    expect(await socket.head()).toMatchObject({ status: 200 });
  }

  async function hangUp(): Promise<void> {
    const closed = once(serverSide, 'close');
    socket.destroy();
    await closed;
  }

  test('are answered in their order', async () => {
    const session = await openSession(harness.url);
    const ids = Array.from({ length: 20 }, (_, id) => id);
    await socket.write(Buffer.concat(ids.map((id) => post(session, echoCall(id, String(id))))));
    for (const id of ids) {
      const { body } = await socket.response();
      expect(messagesOf(body)).toMatchObject([{ id, result: { content: [{ text: String(id) }] } }]);
    }
  });

  test('release their session when their socket closes, although Node never closes a waiting reply', async () => {
    const [streaming, calling] = [await openSession(harness.url), await openSession(harness.url)];
    await openStream(streaming);
    await sendCalls(calling, 20, 'call');

    await hangUp();
    clock.advance(TTL);
    expect(harness.router.sessions.list()).toEqual([]);
    await harness.router.close();
    expect(clock.pending).toBe(0);
  });

  test('open no session if their socket has closed before the reply', async () => {
    await openStream(await openSession(harness.url));
    const opened = new Promise((resolve) => harness.router.sessions.once('opened', resolve));
    await socket.write(post(undefined, initializeBody()));
    await opened;
    const closed: string[] = [];
    harness.router.sessions.on('closed', (_, reason) => closed.push(reason));

    await hangUp();
    expect(closed).toEqual(['failed']);
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });
  });

  test('do not add a listener each to their socket, which Node would warn of', async () => {
    const [streaming, calling] = [await openSession(harness.url), await openSession(harness.url)];
    await openStream(streaming);
    await sendCalls(calling, 1, 'first');
    const before = serverSide.listenerCount('close');
    await sendCalls(calling, 20, 'more');
    expect(serverSide.listenerCount('close')).toBe(before);
  });
});
