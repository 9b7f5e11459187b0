import { connectV1, connectV2, type AnyClient } from '../clients/sdk-clients.js';
import { call, send } from '../support/per-request.js';
import { Deferred } from '../support/waiting.js';
import * as v2 from '@modelcontextprotocol/client';
import { startApp, type StartedApp } from './start.js';

// The example app serves clients of every revision by default (docs/two-eras.md).

let app: StartedApp;
const clients: AnyClient[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await app.close();
});

const KNOWN = { MCP_AUTH_TRUST_PROXY_IDENTITY: 'true', MCP_SESSION_STORE: 'memory' };
const url = () => new URL('/mcp', app.url);
const as = (user: string) => ({ 'x-preferred-username': user });

async function connect(mode: 'auto' | 'legacy', user: string): Promise<AnyClient> {
  const client = await connectV2(mode, as(user))(url());
  clients.push(client);
  return client;
}

describe('a client of MCP 2026-07-28', () => {
  it('is served beside clients with sessions, with the same tools', async () => {
    app = await startApp();
    const later = await connectV2('auto')(url());
    const earlier = await connectV1(url());
    clients.push(later, earlier);
    expect([later.version, earlier.version]).toEqual(['2026-07-28', '2025-11-25']);
    expect(app.router.sessions.list()).toHaveLength(1);
    expect(await later.list()).toEqual(await earlier.list());
    expect(await later.call('echo', { text: 'hello' })).toBe('hello');
    expect(await later.call('ask_name')).toBe('Hello, Ada!');
    expect(await later.call('whoami')).toBe('Session (none), principal (nobody known).');
  });

  it('gets an announcement on the reply to its call, if it asks for log messages of that level', async () => {
    app = await startApp();
    const announce = (level: string) =>
      call(url(), 'announce', { text: 'dinner' }, { meta: { 'io.modelcontextprotocol/logLevel': level } });
    const params = { level: 'notice', logger: 'announce', data: 'dinner' };
    expect((await announce('info')).notifications).toMatchObject([{ method: 'notifications/message', params }]);
    expect((await announce('error')).notifications).toEqual([]);
  });

  it('is told by a plain result of a tool that notes need a user', async () => {
    app = await startApp({ MCP_SESSION_STORE: 'memory' });
    const text = 'Notes of a client without a session belong to its user, and this request names none.';
    const failed = { isError: true, content: [{ text }] };
    expect(await call(url(), 'add_note', { text: 'milk' })).toMatchObject({ status: 200, result: failed });
    expect(await call(url(), 'edit_note', { id: '1', text: 'milk' })).toMatchObject({ status: 200, result: failed });
    expect(await call(url(), 'list_notes')).toMatchObject({ status: 200, result: failed });
  });

  it('is told that notes need a store', async () => {
    app = await startApp({ MCP_AUTH_TRUST_PROXY_IDENTITY: 'true' });
    const text = 'Notes of a client without a session need a store: set MCP_SESSION_STORE or MCP_CLUSTER.';
    const refused = await call(url(), 'add_note', { text: 'milk' }, { headers: as('alice') });
    expect(refused).toMatchObject({ status: 200, result: { isError: true, content: [{ text }] } });
  });

  it("has the notes of its user in all its requests, and no other user's, nor those of a session", async () => {
    app = await startApp(KNOWN);
    const [alice, again, bob, session] = await Promise.all([
      connect('auto', 'alice'),
      connect('auto', 'alice'),
      connect('auto', 'bob'),
      connect('legacy', 'alice'),
    ]);
    expect(await alice.call('list_notes')).toBe('This user has no notes.');
    expect(await alice.call('add_note', { text: 'milk' })).toBe('Added note 1.');
    expect(await again.call('edit_note', { id: '1', text: 'oat milk' })).toBe('Changed note 1.');
    expect(await alice.call('list_notes')).toBe('1: oat milk');
    expect(await bob.call('edit_note', { id: '1', text: 'x' })).toBe('This user has no note 1.');
    expect(await bob.call('list_notes')).toBe('This user has no notes.');
    expect(await session.call('list_notes')).toBe('This session has no notes.');
    const read = await send(url(), 'resources/read', { params: { uri: 'notes://1' }, headers: as('alice') });
    expect(read.result).toMatchObject({ contents: [{ text: 'oat milk' }] });
    const foreign = await send(url(), 'resources/read', { params: { uri: 'notes://1' }, headers: as('bob') });
    expect(foreign.error).toMatchObject({ code: -32602 });
  });

  it('loses no note when many requests of its user add one at once', async () => {
    app = await startApp(KNOWN);
    const alice = await connect('auto', 'alice');
    const texts = Array.from({ length: 8 }, (_, n) => `note ${n}`);
    await Promise.all(texts.map((text) => alice.call('add_note', { text })));
    const lines = (await alice.call('list_notes')).split('\n').map((line) => line.replace(/^\d+: /, ''));
    expect(lines.sort()).toEqual(texts);
  });

  it('hears of changes to the notes that it subscribes to', async () => {
    app = await startApp(KNOWN);
    const alice = await connect('auto', 'alice');
    await alice.call('add_note', { text: 'milk' });
    const client = new v2.Client({ name: 'listening', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    const transport = new v2.StreamableHTTPClientTransport(url(), { requestInit: { headers: as('alice') } });
    await client.connect(transport);
    const [updated, listed] = [new Deferred<string>(), new Deferred()];
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => updated.resolve(params.uri));
    client.setNotificationHandler('notifications/resources/list_changed', () => listed.resolve());
    await client.listen({ resourcesListChanged: true, resourceSubscriptions: ['notes://1'] });
    await alice.call('edit_note', { id: '1', text: 'oat milk' });
    expect(await updated.promise).toBe('notes://1');
    await alice.call('add_note', { text: 'bread' });
    await listed.promise;
    await client.close();
  });

  it.each([
    ['MCP_PER_REQUEST=false: it falls back to a session', { MCP_PER_REQUEST: 'false' }, '2025-11-25', 8],
    ['MCP_SESSIONS=false: it is the only one that is served', { MCP_SESSIONS: 'false' }, '2026-07-28', 8],
    ['MCP_STATELESS=true: it has all tools', { MCP_STATELESS: 'true' }, '2026-07-28', 8],
  ])('with %s', async (_, env, version, tools) => {
    app = await startApp(env);
    const client = await connect('auto', 'alice');
    expect(client.version).toBe(version);
    expect(await client.list()).toHaveLength(tools);
  });
});
