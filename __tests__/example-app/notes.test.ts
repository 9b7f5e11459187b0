import {
  ErrorCode,
  LoggingMessageNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  type LoggingMessageNotification,
} from '@modelcontextprotocol/sdk/types.js';
import { until } from '../support/waiting.js';
import { call, next, startApp, type StartedApp } from './start.js';

const RESOURCE_NOT_FOUND = -32002;

let app: StartedApp;
beforeEach(async () => {
  app = await startApp();
});
afterEach(() => app.close());

describe('notes', () => {
  it('belong to the session: two clients with the same IDs see only their own notes', async () => {
    const [{ client: first }, { client: second }] = await Promise.all([app.connect(), app.connect()]);
    await Promise.all([
      call(first, 'add_note', { text: 'of the first' }),
      call(second, 'add_note', { text: 'of the second' }),
    ]);
    await call(first, 'add_note', { text: 'one more of the first' });

    expect(await call(first, 'list_notes')).toEqual({
      text: '1: of the first\n2: one more of the first',
      failed: false,
    });
    expect(await call(second, 'list_notes')).toEqual({ text: '1: of the second', failed: false });
    expect((await second.readResource({ uri: 'notes://1' })).contents).toMatchObject([{ text: 'of the second' }]);
    await expect(second.readResource({ uri: 'notes://2' })).rejects.toMatchObject({ code: RESOURCE_NOT_FOUND });
    expect((await second.getPrompt({ name: 'summarize_notes' })).messages[0]?.content).toMatchObject({
      text: 'Summarize these notes briefly:\n\n1: of the second',
    });
  });

  it('can be changed, but not one that is not there', async () => {
    const { client } = await app.connect();
    expect(await call(client, 'list_notes')).toEqual({ text: 'This session has no notes.', failed: false });
    expect(await call(client, 'add_note', { text: 'milk' })).toEqual({ text: 'Added note 1.', failed: false });
    expect(await call(client, 'edit_note', { id: '1', text: 'oat milk' })).toEqual({
      text: 'Changed note 1.',
      failed: false,
    });
    expect(await call(client, 'edit_note', { id: '2', text: 'x' })).toEqual({
      text: 'This session has no note 2.',
      failed: true,
    });
    expect(await call(client, 'list_notes')).toEqual({ text: '1: oat milk', failed: false });
  });

  it('are bounded in number and length, so that no client can fill the memory of all', async () => {
    const { client } = await app.connect();
    for (let added = 0; added < 100; added += 1) await call(client, 'add_note', { text: 'x'.repeat(500) });
    expect(await call(client, 'add_note', { text: 'one too many' })).toEqual({
      text: 'A session holds at most 100 notes.',
      failed: true,
    });
    expect(await call(client, 'edit_note', { id: '100', text: 'x'.repeat(2_001) })).toMatchObject({ failed: true });
    expect((await client.listResources()).resources).toHaveLength(100);
  });

  it('are bounded together too, by what the router keeps of a session: 64 KiB', async () => {
    const { client } = await app.connect();
    for (let added = 0; added < 32; added += 1) await call(client, 'add_note', { text: 'x'.repeat(2_000) });
    const full = {
      text: 'There is no room for that: all notes of a session together take at most 64 KiB.',
      failed: true,
    };
    expect(await call(client, 'add_note', { text: 'x'.repeat(2_000) })).toEqual(full);
    expect(await call(client, 'edit_note', { id: '1', text: '\0'.repeat(2_000) })).toEqual(full);
    expect((await client.listResources()).resources).toHaveLength(32);
    expect(await call(client, 'edit_note', { id: '1', text: 'short' })).toEqual({
      text: 'Changed note 1.',
      failed: false,
    });
    expect(await call(client, 'add_note', { text: 'x'.repeat(1_900) })).toMatchObject({ failed: false });
  });

  it('are asked about by a prompt, also when there are none', async () => {
    const { client } = await app.connect();
    expect((await client.listPrompts()).prompts).toMatchObject([{ name: 'summarize_notes' }]);
    const summary = async () => (await client.getPrompt({ name: 'summarize_notes' })).messages;
    expect(await summary()).toEqual([
      { role: 'user', content: { type: 'text', text: 'Say that there are no notes yet.' } },
    ]);
    await call(client, 'add_note', { text: 'milk' });
    expect(await summary()).toMatchObject([{ content: { text: 'Summarize these notes briefly:\n\n1: milk' } }]);
  });
});

it.each([{}, { MCP_SESSION_STORE: 'memory' }])('notes outlive the server that saved them, with %j', async (env) => {
  const hibernating = await startApp({ ...env, MCP_ORPHAN_AFTER_MS: '1', MCP_HIBERNATE_AFTER_MS: '1' });
  const { client } = await hibernating.connect({ standalone: false });
  await call(client, 'add_note', { text: 'milk' });
  await until('the session hibernates', () => hibernating.router.sessions.stats().hibernated === 1);
  expect(await call(client, 'list_notes')).toEqual({ text: '1: milk', failed: false });
  await hibernating.close();
});

describe('notes as resources', () => {
  it('are listed, read, offered as a template and completed', async () => {
    const { client } = await app.connect();
    expect(await client.listResources()).toEqual({ resources: [] });
    await call(client, 'add_note', { text: 'milk' });
    await call(client, 'add_note', { text: 'bread' });
    expect((await client.listResources()).resources).toMatchObject([
      { uri: 'notes://1', name: 'Note 1', mimeType: 'text/plain' },
      { uri: 'notes://2', name: 'Note 2', mimeType: 'text/plain' },
    ]);
    expect((await client.listResourceTemplates()).resourceTemplates).toMatchObject([{ uriTemplate: 'notes://{id}' }]);
    expect(await client.readResource({ uri: 'notes://2' })).toEqual({
      contents: [{ uri: 'notes://2', mimeType: 'text/plain', text: 'bread' }],
    });
    const { completion } = await client.complete({
      ref: { type: 'ref/resource', uri: 'notes://{id}' },
      argument: { name: 'id', value: '2' },
    });
    expect(completion.values).toEqual(['2']);
  });

  it('that are not there get "Resource not found" (spec 2025-11-25, server/resources)', async () => {
    const { client } = await app.connect();
    await expect(client.readResource({ uri: 'notes://1' })).rejects.toMatchObject({ code: RESOURCE_NOT_FOUND });
    await expect(client.subscribeResource({ uri: 'notes://1' })).rejects.toMatchObject({ code: RESOURCE_NOT_FOUND });
    await expect(client.readResource({ uri: 'other://1' })).rejects.toMatchObject({ code: ErrorCode.InvalidParams });
  });

  it('tell the client when one is added', async () => {
    const { client, listening } = await app.connect();
    await listening;
    const changed = next((handler) => client.setNotificationHandler(ResourceListChangedNotificationSchema, handler));
    await call(client, 'add_note', { text: 'milk' });
    expect(await changed).toMatchObject({ method: 'notifications/resources/list_changed' });
  });

  it('report changes to subscribed clients only, until they unsubscribe', async () => {
    const [subscriber, bystander] = await Promise.all([app.connect(), app.connect()]);
    const heard = new Map([subscriber, bystander].map((connected) => [connected, [] as string[]]));
    for (const connected of [subscriber, bystander]) {
      await connected.listening;
      connected.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
        heard.get(connected)?.push(params.uri);
      });
      await call(connected.client, 'add_note', { text: 'milk' });
      await call(connected.client, 'add_note', { text: 'bread' });
    }
    // A stream keeps its order: what an announcement follows was sent before it, or never.
    const settled = async ({ client }: typeof subscriber) => {
      const announced = next<LoggingMessageNotification>((handler) =>
        client.setNotificationHandler(LoggingMessageNotificationSchema, handler),
      );
      await call(client, 'announce', { text: 'settled' });
      await announced;
    };

    await subscriber.client.subscribeResource({ uri: 'notes://1' });
    for (const { client } of [subscriber, bystander]) {
      await call(client, 'edit_note', { id: '1', text: 'oat milk' });
      await call(client, 'edit_note', { id: '2', text: 'rye bread' });
    }
    await settled(subscriber);
    await settled(bystander);
    expect(heard.get(subscriber)).toEqual(['notes://1']);
    expect(heard.get(bystander)).toEqual([]);

    await subscriber.client.unsubscribeResource({ uri: 'notes://1' });
    await call(subscriber.client, 'edit_note', { id: '1', text: 'water' });
    await settled(subscriber);
    expect(heard.get(subscriber)).toEqual(['notes://1']);
  });
});
