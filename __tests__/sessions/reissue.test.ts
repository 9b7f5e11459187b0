import { randomUUID } from 'node:crypto';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import fc from 'fast-check';
import type { McpRouterOptions, ServerFactory } from '../../src/index.js';
import { openSession, post } from '../support/harness.js';
import { notesServer } from '../support/notes-server.js';
import { Restartable } from '../support/restartable.js';
import { Deferred, until } from '../support/waiting.js';

const UNCLAIMED = 60_000;

let endpoint: Restartable;
const clients: Client[] = [];

const begin = async (
  options: Partial<McpRouterOptions> = {},
  factory: ServerFactory = notesServer,
): Promise<Restartable> =>
  (endpoint = await Restartable.start(factory, { staleSessions: 'reissue', store: undefined, ...options }));

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await endpoint.stop();
});

const ping = (id: string, headers: Record<string, string> = {}): Promise<Response> =>
  post(endpoint.url, { jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': id, ...headers });
const open = (): number => endpoint.router.sessions.list().length;

/** What a stale ID is answered with. */
async function reissued(id: string, headers: Record<string, string> = {}): Promise<string | null> {
  const response = await ping(id, headers);
  expect([response.status, await response.json()]).toEqual([
    404,
    { jsonrpc: '2.0', id: 1, error: { code: -32001, message: 'Session not found' } },
  ]);
  return response.headers.get('mcp-session-id');
}

describe("staleSessions: 'reissue'", () => {
  test('one SDK client object throughout: the first call after a restart fails with 404, the next succeeds', async () => {
    await begin();
    const client = new Client({ name: 'tester', version: '1.0.0' });
    clients.push(client);
    const transport = new StreamableHTTPClientTransport(endpoint.url);
    await client.connect(transport);
    const before = transport.sessionId;
    endpoint.crash();
    await expect(client.callTool({ name: 'list' })).rejects.toThrow(/404|Session not found/);
    expect(transport.sessionId).not.toBe(before);
    await expect(client.callTool({ name: 'list' })).resolves.toMatchObject({ content: [{ text: '[]' }] });
    await expect(client.callTool({ name: 'add', arguments: { text: 'x' } })).resolves.toBeDefined();
    expect(open()).toBe(1);
  });

  test('the new session is initialized and ready, in the version of the request, with no capabilities', async () => {
    let initialized = 0;
    await begin({}, (context) => {
      const server = notesServer(context);
      server.server.oninitialized = () => (initialized += 1);
      return server;
    });
    const id = await reissued(randomUUID(), { 'mcp-protocol-version': '2025-06-18' });
    expect(initialized).toBe(1);
    expect(endpoint.contexts[0]).toMatchObject({ sessionId: id, restored: false, epoch: 0, clientCapabilities: {} });
    expect(endpoint.router.sessions.get(id!)).toMatchObject({ state: 'active', protocolVersion: '2025-06-18' });
    expect((await ping(id!, { 'mcp-protocol-version': '2025-06-18' })).status).toBe(200);
  });

  test('a request that names no version is one of 2025-03-26 (spec 2025-11-25, "Protocol Version Header")', async () => {
    await begin();
    const id = await reissued(randomUUID());
    expect(endpoint.router.sessions.get(id!)?.protocolVersion).toBe('2025-03-26');
  });

  test('parallel requests with one stale ID get the same new one', async () => {
    const gate = new Deferred();
    await begin({}, async (context) => {
      await gate.promise;
      return notesServer(context);
    });
    const stale = randomUUID();
    const answers = Array.from({ length: 50 }, () => reissued(stale));
    await until('the factory is called', () => endpoint.contexts.length > 0);
    gate.resolve();
    expect(new Set(await Promise.all(answers)).size).toBe(1);
    expect(endpoint.contexts).toHaveLength(1);
    expect(await reissued(stale)).toBe(await answers[0]);
  });

  test('each principal gets one of its own, also for the session of another that is open', async () => {
    await begin();
    const alices = await openSession(endpoint.url, { 'x-user': 'alice' });
    const bobs = await reissued(alices, { 'x-user': 'bob' });
    const carols = await reissued(alices, { 'x-user': 'carol' });
    expect(new Set([alices, bobs, carols]).size).toBe(3);
    expect((await ping(bobs!, { 'x-user': 'bob' })).status).toBe(200);
    expect((await ping(bobs!, { 'x-user': 'carol' })).status).toBe(404);
    expect((await ping(alices, { 'x-user': 'alice' })).status).toBe(200);
  });

  test('GET and DELETE get none', async () => {
    await begin();
    for (const method of ['GET', 'DELETE']) {
      const response = await fetch(endpoint.url, {
        method,
        headers: { accept: 'text/event-stream', 'mcp-session-id': randomUUID() },
      });
      expect([response.status, response.headers.get('mcp-session-id')]).toEqual([404, null]);
      await response.text();
    }
    expect(open()).toBe(0);
  });

  test('only an ID of the form that the router makes gets one', async () => {
    await begin();
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[!-~]{1,60}$/), async (id) => {
        const response = await ping(id);
        expect([response.status, response.headers.get('mcp-session-id')]).toEqual([404, null]);
        await response.text();
      }),
      { numRuns: 100 },
    );
    expect(open()).toBe(0);
  });

  test('a new session that its client does not adopt is closed after a minute; an adopted one lives on', async () => {
    await begin();
    const [first, second] = [await reissued(randomUUID()), await reissued(randomUUID())];
    await (await ping(second!)).text();
    endpoint.clock.advance(UNCLAIMED);
    await until('it is closed', () => endpoint.router.sessions.get(first!) === undefined);
    expect((await ping(second!)).status).toBe(200);
    expect(open()).toBe(1);
  });

  test('a stale ID gets another one when the first has ended', async () => {
    await begin();
    const stale = randomUUID();
    const first = await reissued(stale);
    endpoint.clock.advance(UNCLAIMED);
    await until('it is closed', () => open() === 0);
    const second = await reissued(stale);
    expect(second).not.toBe(first);
    await endpoint.router.sessions.close(second!);
    expect(await reissued(stale)).toBeNull();
  });

  test('a tenth of maxSessions may wait to be adopted, and more get a plain 404', async () => {
    await begin({ maxSessions: 30 });
    const ids: (string | null)[] = [];
    for (let n = 0; n < 6; n += 1) ids.push(await reissued(randomUUID()));
    expect(ids.map((id) => id !== null)).toEqual([true, true, true, false, false, false]);
    endpoint.clock.advance(UNCLAIMED);
    await until('they are closed', () => open() === 0);
    expect(await reissued(randomUUID())).not.toBeNull();
  });

  test('those that were adopted, or came to nothing, do not wait', async () => {
    await begin({ maxSessions: 30 });
    for (let n = 0; n < 6; n += 1) {
      const id = await reissued(randomUUID());
      expect(id).not.toBeNull();
      await (await ping(id!)).text();
    }
    endpoint.factory = () => Promise.reject(new Error('no database'));
    for (let n = 0; n < 6; n += 1) expect(await reissued(randomUUID())).toBeNull();
    endpoint.factory = notesServer;
    expect(await reissued(randomUUID())).not.toBeNull();
  });

  test('a new session evicts no other, neither past maxSessions nor past maxSessionsPerPrincipal', async () => {
    await begin({ maxSessions: 1 });
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(60_000);
    expect(endpoint.router.sessions.get(id)?.state).toBe('orphaned');
    expect(await reissued(randomUUID())).toBeNull();
    expect(open()).toBe(1);
    await endpoint.stop();

    await begin({ maxSessionsPerPrincipal: 1 });
    await openSession(endpoint.url, { 'x-user': 'alice' });
    endpoint.clock.advance(60_000);
    expect(await reissued(randomUUID(), { 'x-user': 'alice' })).toBeNull();
    expect(await reissued(randomUUID(), { 'x-user': 'bob' })).not.toBeNull();
  });

  test('a factory that throws leaves a plain 404, and nothing else', async () => {
    await begin({}, () => {
      throw new Error('no database');
    });
    expect(await reissued(randomUUID())).toBeNull();
    expect(endpoint.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    expect(endpoint.log.text).toContain('a session could not be reissued');
  });

  test('a router that drains reissues nothing', async () => {
    await begin();
    await endpoint.router.drain(1_000);
    expect(await reissued(randomUUID())).toBeNull();
  });

  test('with a store, a stored session is restored, and only an unknown ID is reissued', async () => {
    endpoint = await Restartable.start(notesServer, { staleSessions: 'reissue' });
    const id = await openSession(endpoint.url);
    endpoint.crash();
    expect((await ping(id)).status).toBe(200);
    const issued = await reissued(randomUUID());
    endpoint.crash();
    expect((await ping(issued!)).status).toBe(200);
  });

  test('off by default', async () => {
    await begin({ staleSessions: undefined });
    expect(await reissued(randomUUID())).toBeNull();
  });
});
