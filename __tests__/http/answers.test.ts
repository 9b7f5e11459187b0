import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { ERRORS } from '../../src/errors.js';
import { memoryEventStore } from '../../src/index.js';
import { initializeBody, messagesOf, start, type Harness } from '../support/harness.js';
import { RawSocket } from '../support/raw-http.js';
import { ping, PLAIN, Target } from '../support/target.js';

describe('answers that are no errors (docs/http.md)', () => {
  const target = new Target();
  beforeAll(() =>
    target.start(PLAIN, {
      eventStore: memoryEventStore({ clock: target.clock }),
      allowedOrigins: ['https://app.example'],
    }),
  );
  afterAll(() => target.close());

  test('initialize and requests get 200 with the session ID, as events that no proxy holds back', async () => {
    const response = await target.post(initializeBody());
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('cache-control')).toBe('no-cache, no-transform');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    const session = response.headers.get('mcp-session-id')!;
    const answered = await target.post(ping(1), { 'mcp-session-id': session });
    expect(answered.headers.get('mcp-session-id')).toBe(session);
    expect(messagesOf(answered.body)).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
  });

  test('notifications and responses get 202 without a body', async () => {
    const headers = { 'mcp-session-id': await target.open() };
    const bodies = [
      { jsonrpc: '2.0', method: 'notifications/x' },
      { jsonrpc: '2.0', id: 99, result: {} },
    ];
    for (const body of bodies) expect(await target.post(body, headers)).toMatchObject({ status: 202, body: '' });
  });

  test('DELETE gets 200 without a body; from then on the session gets 404', async () => {
    const headers = { 'mcp-session-id': await target.open() };
    expect(await target.send('DELETE', headers)).toMatchObject({ status: 200, body: '' });
    expect(await target.send('DELETE', headers)).toMatchObject({ status: ERRORS.sessionNotFound.status });
  });

  test('the stream of an answered request is replayed; with nothing left to replay it gets 204 (HTML, 9.2.3)', async () => {
    const session = await target.open();
    const answered = await target.post(ping(1), { 'mcp-session-id': session });
    const [primed, last] = [...answered.body.matchAll(/^id: (.+)$/gm)].map(([, id]) => id!);
    const replayed = await target.get({ 'mcp-session-id': session, 'last-event-id': primed! });
    expect(replayed.status).toBe(200);
    expect(messagesOf(replayed.body)).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
    expect(await target.get({ 'mcp-session-id': session, 'last-event-id': last! })).toMatchObject({ status: 204 });
  });

  test('a CORS preflight gets 204', async () => {
    const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST' };
    expect(await target.send('OPTIONS', headers)).toMatchObject({ status: 204, body: '' });
  });
});

describe("a request that never reaches the router gets Node's own answer, without a body (docs/http.md)", () => {
  let harness: Harness;
  beforeAll(async () => (harness = await start()));
  afterAll(() => harness.close());

  test.each<[number, string, string | Buffer]>([
    [400, 'bytes that are no HTTP', 'HELLO\r\n\r\n'],
    [400, 'HTTP/1.1 without Host', 'GET /mcp HTTP/1.1\r\n\r\n'],
    [
      413,
      'chunk extensions past 16 KiB',
      `POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(20_000)}`,
    ],
    [417, 'an unknown Expect', 'POST /mcp HTTP/1.1\r\nHost: localhost\r\nExpect: nothing\r\nConnection: close\r\n\r\n'],
    [
      431,
      'headers past 16 KiB',
      `GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: ${'x'.repeat(17_000)}\r\n\r\n`,
    ],
  ])('%i: %s', async (status, _, bytes) => {
    const socket = await RawSocket.open(harness.url.port);
    void socket.write(bytes);
    expect(await socket.response()).toMatchObject({ status, body: '' });
    socket.destroy();
  });

  test('a closed socket: CONNECT', async () => {
    const socket = await RawSocket.open(harness.url.port);
    void socket.write('CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await expect(socket.response()).rejects.toThrow('it had sent: ""');
  });

  test('408: a body that does not come in time', async () => {
    const impatient = http.createServer(
      { requestTimeout: 100, headersTimeout: 100, connectionsCheckingInterval: 20 },
      harness.app,
    );
    await new Promise<void>((resolve) => impatient.listen(0, '127.0.0.1', resolve));
    const socket = await RawSocket.open((impatient.address() as AddressInfo).port);
    void socket.write(
      'POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{',
    );
    expect(await socket.response()).toMatchObject({ status: 408, body: '' });
    await new Promise((resolve) => impatient.close(resolve));
  });
});
