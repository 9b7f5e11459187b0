import { once } from 'node:events';
import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { echoServer, initializeBody, JSON_HEADERS, start, type Harness } from '../support/harness.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { configurationOf, ProxyProgram, type ProxyName } from './proxy-program.js';

const HOST = 'mcp.example.com';
const MIB = 1024 * 1024;

let answerNow: Deferred;
beforeEach(() => (answerNow = new Deferred()));
let harness: Harness;
beforeAll(async () => {
  const serverFactory = () => {
    const server = echoServer();
    server.registerTool('slow', {}, async (extra) => {
      await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
      await answerNow.promise;
      return { content: [{ type: 'text', text: 'done' }] };
    });
    return server;
  };
  harness = await start({ serverFactory, allowedHosts: [HOST] }, (app, router) => {
    app.use('/mcp', router);
    app.get('/readyz', router.ready);
  });
});
afterAll(() => harness.close());

/** A POST as a client of the public name sends it. */
async function send(port: number, body: string, headers: OutgoingHttpHeaders = {}): Promise<IncomingMessage> {
  const sent = request({
    port,
    host: '127.0.0.1',
    path: '/mcp',
    method: 'POST',
    agent: false,
    headers: { ...JSON_HEADERS, host: HOST, origin: `https://${HOST}`, ...headers },
  });
  sent.end(body);
  const [response] = (await soon('the proxy answers', once(sent, 'response'))) as [IncomingMessage];
  return response;
}

const padded = (bytes: number) => JSON.stringify(initializeBody()) + ' '.repeat(bytes);
const appPort = () => (harness.http.address() as AddressInfo).port;

describe.each<ProxyName>(['nginx', 'haproxy'])('%s with the configuration of docs/proxies.md', (name) => {
  let proxy: ProxyProgram;
  beforeAll(async () => {
    proxy = await ProxyProgram.start(name, appPort());
    await until('the app is known to be ready', async () => {
      const response = await send(proxy.port, padded(0));
      await text(response);
      return response.statusCode === 200;
    });
  });
  afterAll(() => proxy.stop());

  test('passes on the Host of the client, so that its Origin is the own one, and a body of 1.5 MB', async () => {
    const response = await send(proxy.port, padded(1_500_000));
    expect([response.statusCode, await text(response)]).toEqual([200, expect.stringContaining('"serverInfo"')]);
    const foreign = await send(proxy.port, padded(0), { origin: 'https://evil.example' });
    expect([foreign.statusCode, JSON.parse(await text(foreign))]).toMatchObject([403, { jsonrpc: '2.0' }]);
  });

  test("lets the router's own 413 through, in JSON-RPC", async () => {
    const response = await send(proxy.port, padded(4 * MIB));
    expect([response.statusCode, JSON.parse(await text(response))]).toMatchObject([413, { jsonrpc: '2.0' }]);
  });

  test('passes on an event when it comes, while the call still runs', async () => {
    const opened = await send(proxy.port, padded(0));
    await text(opened);
    const session = { 'mcp-session-id': String(opened.headers['mcp-session-id']) };
    const call = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'slow' } };
    const response = await send(proxy.port, JSON.stringify(call), session);
    let received = '';
    response.on('data', (chunk: Buffer) => (received += String(chunk)));
    await until('the notification has come', () => received.includes('begun'));
    expect(received).not.toContain('done');
    answerNow.resolve();
    await soon('the reply ends', once(response, 'end'));
    expect(received).toContain('done');
  });

  test('keeps the metrics private', async () => {
    const asked = request({
      port: proxy.port,
      host: '127.0.0.1',
      path: '/mcp/metrics',
      headers: { host: HOST },
      agent: false,
    });
    asked.end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(403);
  });
});

test('nginx answers 1.5 MB with an HTML 413 by default, as docs/proxies.md says', async () => {
  const byDefault = configurationOf('nginx').replace(/^.*client_max_body_size.*\n/m, '');
  const proxy = await ProxyProgram.start('nginx', appPort(), byDefault);
  const response = await send(proxy.port, padded(1_500_000));
  expect([response.statusCode, await text(response)]).toEqual([413, expect.stringContaining('<html>')]);
  await proxy.stop();
});
