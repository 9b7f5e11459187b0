import express from 'express';
import fc from 'fast-check';
import { mcpRouter, type McpRouterOptions } from '../../src/index.js';
import { fakeClock, parseReply, testClient, type TestClientOptions } from '../../src/testing/index.js';
import { echoServer } from '../support/harness.js';
import { notesServer } from '../support/notes-server.js';

describe('parseReply (docs/testing.md)', () => {
  const message = { jsonrpc: '2.0', id: 1, result: { text: 'a\n\u2028b' } };

  test('reads a JSON body, a batch of JSON, and an empty body', () => {
    expect(parseReply(JSON.stringify(message))).toEqual([message]);
    expect(parseReply(` [${JSON.stringify(message)}]`)).toEqual([message]);
    expect(parseReply('')).toEqual([]);
  });

  test('reads an event stream with any line ends, comments, IDs, and events without data (HTML, 9.2.6)', () => {
    const written = fc.record({
      messages: fc.array(
        fc.record({
          jsonrpc: fc.constant('2.0'),
          method: fc.string(),
          params: fc.dictionary(fc.string(), fc.string()),
        }),
      ),
      end: fc.constantFrom('\n', '\r\n', '\r'),
      noise: fc.constantFrom('', ': comment\n\n', 'id: 7\ndata: \n\n', 'retry: 5\n', 'event: message\n'),
      space: fc.constantFrom('', ' '),
    });
    fc.assert(
      fc.property(written, ({ messages, end, noise, space }) => {
        const stream = messages.map((one) => `${noise}data:${space}${JSON.stringify(one)}\n\n`).join('');
        expect(parseReply((stream + noise).replaceAll('\n', end))).toEqual(
          messages.map((one) => JSON.parse(JSON.stringify(one))),
        );
      }),
    );
  });

  test('joins the data lines of one event', () => {
    expect(parseReply('data: {"a":\ndata: 1}\n\n')).toEqual([{ a: 1 }]);
  });

  test('rejects a text that is neither JSON nor an event stream', () => {
    expect(() => parseReply('data: <html>\n\n')).toThrow(SyntaxError);
  });
});

describe('testClient (docs/testing.md)', () => {
  const connect = async (options: Partial<McpRouterOptions> = {}, client: TestClientOptions = {}) => {
    const router = mcpRouter({ serverFactory: echoServer, logger: false, ...options });
    const app = express().use(client.path ?? '/mcp', router);
    return { router, client: await testClient(app, client) };
  };

  test('opens a session, calls a tool, and ends the session at its close', async () => {
    const { router, client } = await connect();
    expect(client.opening).toMatchObject({ status: 200, result: { serverInfo: { name: 'echo' } } });
    expect(client.sessionId).toBe(router.sessions.list()[0]?.id);
    expect(await client.callTool('echo', { text: 'hello' })).toMatchObject({
      status: 200,
      notifications: [],
      result: { content: [{ type: 'text', text: 'hello' }] },
    });
    await client.close();
    expect(router.sessions.list()).toEqual([]);
    await router.close();
  });

  test.each(['echo', 'écho 😀'])('speaks MCP 2026-07-28 without a session, with a tool called %p', async (name) => {
    const serverFactory = () => {
      const server = echoServer();
      // The SDK warns of such names.
      const warn = jest.spyOn(console, 'warn').mockImplementation();
      if (name !== 'echo') server.registerTool(name, {}, () => ({ content: [{ type: 'text', text: 'found' }] }));
      warn.mockRestore();
      return server;
    };
    const { router, client } = await connect({ serverFactory, perRequest: true }, { era: 'request' });
    expect([client.sessionId, client.opening]).toEqual([undefined, undefined]);
    expect(await client.callTool(name, { text: 'found' })).toMatchObject({
      status: 200,
      result: { content: [{ text: 'found' }] },
    });
    expect(router.sessions.list()).toEqual([]);
    await client.close();
    await router.close();
  });

  test('names the task of a request in `Mcp-Name` (SEP-2663)', async () => {
    const { router, client } = await connect({ perRequest: true }, { era: 'request' });
    // A header that differs from the body would be -32020.
    expect(await client.request('tasks/get', { taskId: '7' })).toMatchObject({ status: 404, error: { code: -32601 } });
    await client.close();
    await router.close();
  });

  test('shows notifications, errors and refusals as they came', async () => {
    const serverFactory = () => {
      const server = echoServer();
      server.registerTool('log', {}, async (extra) => {
        await extra.sendNotification({
          method: 'notifications/message',
          params: { level: 'info', data: 'on the way' },
        });
        return { content: [] };
      });
      return server;
    };
    const { router, client } = await connect({ serverFactory }, { path: '/other' });
    expect((await client.callTool('log')).notifications).toMatchObject([{ params: { data: 'on the way' } }]);
    expect(await client.request('none')).toMatchObject({ status: 200, error: { code: -32601 } });
    await router.sessions.close(client.sessionId ?? '');
    expect(await client.request('ping')).toMatchObject({ status: 404, error: { code: -32001 } });
    await client.close();
    await router.close();
  });

  test('sends headers with each request, and connects where `initialize` is refused, to show the refusal', async () => {
    const principal: McpRouterOptions['principal'] = (req) => req.headers['x-user'] as string | undefined;
    const refused = await connect({ principal, requirePrincipal: true });
    expect(refused.client.opening).toMatchObject({ status: 401, error: { message: 'Unauthorized' } });
    await refused.client.close();
    const known = await connect({ principal, requirePrincipal: true }, { headers: { 'x-user': 'alice' } });
    expect(known.router.sessions.list()).toMatchObject([{ principal: 'alice' }]);
    await known.client.close();
    await Promise.all([refused.router.close(), known.router.close()]);
  });
});

test('fakeClock lets a session expire when the test says so', async () => {
  const clock = fakeClock();
  const router = mcpRouter({ serverFactory: notesServer, ttl: 60_000, clock, logger: false });
  const client = await testClient(express().use('/mcp', router));
  expect(router.sessions.stats().active).toBe(1);
  const closed = new Promise((resolve) => router.sessions.on('closed', (_, reason) => resolve(reason)));
  // The lease of the last reply may end a moment after its last byte.
  const turns = setInterval(() => clock.advance(60_001), 10);
  expect(await closed).toBe('expired');
  clearInterval(turns);
  await client.close();
  await router.close();
});
