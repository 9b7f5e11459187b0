import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { connectV1, connectV2, type AnyClient } from '../clients/sdk-clients.js';
import { call, send } from '../support/per-request.js';
import { startApp, next, type StartedApp } from './start.js';

// With MCP_SDK=v2 the example app serves the same tools with version 2 of the SDK (example-app/README.md, "What it offers").

const KNOWN = { MCP_AUTH_TRUST_PROXY_IDENTITY: 'true', MCP_SESSION_STORE: 'memory' };
const alice = { 'x-preferred-username': 'alice' };

let app: StartedApp;
const clients: AnyClient[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await app.close();
});

const url = () => new URL('/mcp', app.url);

async function connect(connecting: Promise<AnyClient>): Promise<AnyClient> {
  const client = await connecting;
  clients.push(client);
  return client;
}

it('serves clients of both eras with the same tools as version 1', async () => {
  app = await startApp();
  const expected = await (await connect(connectV1(url()))).list();
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await app.close();

  app = await startApp({ MCP_SDK: 'v2' });
  for (const connecting of [connectV1, connectV2('legacy'), connectV2('auto')]) {
    const client = await connect(connecting(url()));
    expect(await client.list()).toEqual(expected);
    expect(await client.call('echo', { text: 'hello' })).toBe('hello');
    expect(await client.call('ask_name')).toBe('Hello, Ada!');
    expect(await client.call('countdown', { seconds: 0 })).toBe('Counted down from 0.');
  }
  expect(clients.map(({ version }) => version)).toEqual(['2025-11-25', '2025-11-25', '2026-07-28']);
});

it('serves MCP 2026-07-28 by the server itself: its question needs no waiting handler', async () => {
  app = await startApp({ MCP_SDK: 'v2' });
  const asked = await call(url(), 'ask_name', {}, { capabilities: { elicitation: { form: {} } } });
  expect(asked.result).toMatchObject({ resultType: 'input_required', inputRequests: { name: {} } });
  expect(asked.result).not.toHaveProperty('requestState');
  const undeclared = { isError: true, content: [{ text: expect.stringContaining('cannot be asked') as string }] };
  expect((await call(url(), 'ask_name')).result).toMatchObject(undeclared);
  const meta = { 'io.modelcontextprotocol/logLevel': 'info' };
  const { notifications } = await call(url(), 'announce', { text: 'dinner' }, { meta });
  expect(notifications).toMatchObject([{ params: { level: 'notice', logger: 'announce', data: 'dinner' } }]);
});

it('keeps the notes of a user and those of a session apart', async () => {
  app = await startApp({ ...KNOWN, MCP_SDK: 'v2' });
  const later = await connect(connectV2('auto', alice)(url()));
  const session = await connect(connectV2('legacy', alice)(url()));
  expect(await later.call('add_note', { text: 'milk' })).toBe('Added note 1.');
  expect(await later.call('edit_note', { id: '1', text: 'oat milk' })).toBe('Changed note 1.');
  expect(await later.call('list_notes')).toBe('1: oat milk');
  expect(await session.call('list_notes')).toBe('This session has no notes.');
  const read = await send(url(), 'resources/read', { params: { uri: 'notes://1' }, headers: alice });
  expect(read.result).toMatchObject({ contents: [{ text: 'oat milk' }] });
  const missing = await send(url(), 'resources/read', { params: { uri: 'notes://2' }, headers: alice });
  expect(missing.error).toMatchObject({ code: -32602 });
});

it('tells a session of changes to the notes that it is subscribed to', async () => {
  app = await startApp({ MCP_SDK: 'v2' });
  const client = new Client({ name: 'subscribed', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(url()));
  await client.callTool({ name: 'add_note', arguments: { text: 'milk' } });
  await client.subscribeResource({ uri: 'notes://1' });
  const updated = next<{ params: { uri: string } }>((handler) =>
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, handler),
  );
  await client.callTool({ name: 'edit_note', arguments: { id: '1', text: 'oat milk' } });
  expect((await updated).params.uri).toBe('notes://1');
  const { messages } = await client.getPrompt({ name: 'summarize_notes' });
  expect(messages).toMatchObject([{ content: { text: expect.stringContaining('1: oat milk') as string } }]);
  await client.close();
});

it('offers a stateless client only what needs no session', async () => {
  app = await startApp({ MCP_SDK: 'v2', MCP_STATELESS: 'true' });
  const client = await connect(connectV1(url()));
  expect((await client.list()).sort()).toEqual(['countdown', 'echo', 'whoami']);
});
