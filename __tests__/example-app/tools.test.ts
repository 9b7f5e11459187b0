import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import {
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  type ElicitResult,
  type JSONRPCMessage,
  type LoggingMessageNotification,
} from '@modelcontextprotocol/sdk/types.js';
import { AppState } from '../../src/sessions/records/app-state.js';
import { buildServer } from '../../example-app/src/server.js';
import { call, next, startApp, type StartedApp } from './start.js';

let app: StartedApp;
afterEach(() => app.close());

describe("the example app's tools", () => {
  beforeEach(async () => {
    app = await startApp();
  });

  it('are all described, and announced with their schemas', async () => {
    const { client } = await app.connect();
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual([
      'echo',
      'countdown',
      'whoami',
      'add_note',
      'edit_note',
      'list_notes',
      'ask_name',
      'announce',
    ]);
    expect(tools.filter(({ title, description }) => !title || !description)).toEqual([]);
    expect(tools.find(({ name }) => name === 'countdown')?.inputSchema).toMatchObject({
      properties: { seconds: { type: 'integer', minimum: 0, maximum: 60 } },
      required: ['seconds'],
    });
    expect(client.getServerCapabilities()).toMatchObject({
      logging: {},
      prompts: {},
      completions: {},
      resources: { subscribe: true, listChanged: true },
    });
  });

  it('echo says back any text as it is', async () => {
    const { client } = await app.connect();
    for (const text of ['hello', '', 'ünï©ode 🙂\u2028 "quoted"\n']) {
      expect(await call(client, 'echo', { text })).toEqual({ text, failed: false });
    }
    expect(await call(client, 'echo', {})).toMatchObject({ failed: true });
  });

  it('countdown reports its progress each second on the stream of its own call', async () => {
    const { client } = await app.connect({ standalone: false });
    const seen: unknown[] = [];
    const started = performance.now();
    const result = await client.callTool({ name: 'countdown', arguments: { seconds: 2 } }, undefined, {
      onprogress: (progress) => seen.push(progress),
    });
    expect(performance.now() - started).toBeGreaterThan(1_900);
    expect(seen).toEqual([
      { progress: 1, total: 2, message: '1 s to go' },
      { progress: 2, total: 2, message: '0 s to go' },
    ]);
    expect(result.content).toEqual([{ type: 'text', text: 'Counted down from 2.' }]);
  });

  it('countdown counts without a progress token, and takes 0 to 60 whole seconds only', async () => {
    const { client } = await app.connect();
    expect(await call(client, 'countdown', { seconds: 0 })).toEqual({ text: 'Counted down from 0.', failed: false });
    expect(await call(client, 'countdown', { seconds: 1 })).toEqual({ text: 'Counted down from 1.', failed: false });
    for (const seconds of [-1, 61, 1.5, '3']) {
      expect(await call(client, 'countdown', { seconds })).toMatchObject({ failed: true });
    }
  });

  it('whoami shows the first eight characters of the session ID, and "nobody" without a principal', async () => {
    const { client, transport } = await app.connect();
    const session = transport.sessionId?.slice(0, 8);
    expect(session).toHaveLength(8);
    expect((await client.callTool({ name: 'whoami' })).structuredContent).toEqual({ session, principal: null });
  });

  it('announce sends a log message on the GET stream', async () => {
    const { client, listening } = await app.connect();
    await listening;
    const announced = next<LoggingMessageNotification>((handler) =>
      client.setNotificationHandler(LoggingMessageNotificationSchema, handler),
    );
    expect(await call(client, 'announce', { text: 'dinner' })).toEqual({ text: 'Announced.', failed: false });
    expect((await announced).params).toEqual({ level: 'notice', logger: 'announce', data: 'dinner' });
  });

  it('announce sends nothing on the stream of its own call', async () => {
    const { client } = await app.connect({ standalone: false });
    const heard: unknown[] = [];
    client.setNotificationHandler(LoggingMessageNotificationSchema, (message) => void heard.push(message));
    expect(await call(client, 'announce', { text: 'dinner' })).toMatchObject({ failed: false });
    expect(await call(client, 'echo', { text: 'later' })).toMatchObject({ failed: false });
    expect(heard).toEqual([]);
  });

  it('announce keeps to the level that the client set (spec 2025-11-25, server/utilities/logging)', async () => {
    const { client, listening } = await app.connect();
    await listening;
    const heard: unknown[] = [];
    await client.setLoggingLevel('error');
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.push(params.data));
    await call(client, 'announce', { text: 'unheard' });
    await client.setLoggingLevel('debug');
    const announced = next<LoggingMessageNotification>((handler) =>
      client.setNotificationHandler(LoggingMessageNotificationSchema, handler),
    );
    await call(client, 'announce', { text: 'heard' });
    expect((await announced).params.data).toBe('heard');
    expect(heard).toEqual([]);
  });
});

describe('ask_name', () => {
  beforeEach(async () => {
    app = await startApp();
  });

  /** A client without a GET stream, so that the question can only come on the stream of the call that asks it. */
  async function asked(answer: ElicitResult) {
    const { client } = await app.connect({ standalone: false, capabilities: { elicitation: { form: {} } } });
    const questions: unknown[] = [];
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      questions.push(params);
      return answer;
    });
    const said = await call(client, 'ask_name');
    expect(questions).toMatchObject([{ message: 'What is your name?', requestedSchema: { required: ['name'] } }]);
    return said;
  }

  it('greets by the name that the user gives', async () => {
    expect(await asked({ action: 'accept', content: { name: 'Ada' } })).toEqual({ text: 'Hello, Ada!', failed: false });
  });

  it('accepts a declined and a cancelled question', async () => {
    expect(await asked({ action: 'decline' })).toEqual({ text: 'No name was given, which is fine.', failed: false });
    expect(await asked({ action: 'cancel' })).toEqual({ text: 'The question was put aside.', failed: false });
  });

  it('does not greet by a name that breaks its schema', async () => {
    expect(await asked({ action: 'accept', content: { name: '' } })).toMatchObject({ failed: true });
  });

  it('says so to a client that cannot be asked', async () => {
    const { client } = await app.connect();
    expect(await call(client, 'ask_name')).toEqual({
      text: 'This client cannot be asked: it did not declare the elicitation capability.',
      failed: true,
    });
  });
});

describe('countdown, looked at from close by', () => {
  beforeEach(async () => {
    app = await startApp();
  });

  /** Calls it without HTTP in between, which would hold back what a handler does after it was cancelled. */
  async function counting(
    seconds: number,
    meta: { progressToken?: string },
    onMessage: (message: JSONRPCMessage) => void,
  ) {
    const [here, there] = InMemoryTransport.createLinkedPair();
    const server = buildServer(
      {
        era: 'session',
        sessionId: 'session-1',
        principal: undefined,
        req: { headers: {}, auth: undefined },
        clientInfo: undefined,
        clientCapabilities: undefined,
        restored: false,
        epoch: 0,
        signal: new AbortController().signal,
        state: new AppState(),
        onHibernate: () => undefined,
      },
      false,
    );
    here.onmessage = onMessage;
    await server.connect(there);
    await here.start();
    const params = { name: 'countdown', arguments: { seconds }, _meta: meta };
    await here.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
    return {
      cancel: () => here.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } }),
      close: () => server.close(),
    };
  }
  const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length;

  it('sends no progress without a progress token (spec 2025-11-25, basic/utilities/progress)', async () => {
    const heard: JSONRPCMessage[] = [];
    await new Promise<void>((resolve, reject) => {
      const onMessage = (message: JSONRPCMessage) => {
        heard.push(message);
        if ('result' in message) resolve();
      };
      counting(1, {}, onMessage).catch(reject);
    });
    expect(heard).toMatchObject([{ id: 1, result: { content: [{ text: 'Counted down from 1.' }] } }]);
  });

  it('stops when it is cancelled (spec 2025-11-25, basic/utilities/cancellation)', async () => {
    const before = timers();
    const heard: JSONRPCMessage[] = [];
    let call: Awaited<ReturnType<typeof counting>> | undefined;
    await new Promise<void>((resolve, reject) => {
      const onMessage = (message: JSONRPCMessage) => {
        heard.push(message);
        resolve();
      };
      counting(60, { progressToken: 'p' }, onMessage).then((started) => (call = started), reject);
    });
    expect(heard).toMatchObject([{ method: 'notifications/progress', params: { progress: 1 } }]);
    await new Promise(setImmediate);
    expect(timers()).toBe(before + 1);
    await call?.cancel();
    await new Promise(setImmediate);
    expect(timers()).toBe(before);
    expect(heard).toHaveLength(1);
    await call?.close();
  });

  it('frees its session when it is cancelled over HTTP', async () => {
    const { client } = await app.connect();
    const cancel = new AbortController();
    const cancelled = client.callTool({ name: 'countdown', arguments: { seconds: 60 } }, undefined, {
      signal: cancel.signal,
      onprogress: () => cancel.abort(),
    });
    await expect(cancelled).rejects.toThrow();
    // The cancellation is on its way. A countdown that it does not reach goes on for longer than this test may.
    while (app.router.sessions.list().some(({ requests }) => requests > 0)) await client.ping();
    expect(await call(client, 'echo', { text: 'still here' })).toEqual({ text: 'still here', failed: false });
  });
});

describe('with MCP_AUTH_TRUST_PROXY_IDENTITY', () => {
  beforeEach(async () => {
    app = await startApp({ MCP_AUTH_TRUST_PROXY_IDENTITY: 'true' });
  });

  it('whoami shows the name that the proxy sends', async () => {
    const { client } = await app.connect({ headers: { 'x-preferred-username': 'alice' } });
    expect((await client.callTool({ name: 'whoami' })).structuredContent).toMatchObject({ principal: 'alice' });
  });

  it('a request without a name gets 401, and a session answers to its own user only', async () => {
    await expect(app.connect()).rejects.toThrow(/401|Unauthorized/);
    const { transport } = await app.connect({ headers: { 'x-preferred-username': 'alice' } });
    const stolen = (name: string) =>
      fetch(`${app.url}/mcp`, {
        method: 'DELETE',
        headers: { 'mcp-session-id': transport.sessionId ?? '', 'x-preferred-username': name },
      });
    expect((await stolen('mallory')).status).toBe(404);
    expect((await stolen('alice')).status).toBe(200);
  });
});

describe('with MCP_STATELESS', () => {
  beforeEach(async () => {
    app = await startApp({ MCP_STATELESS: 'true' });
  });

  it('only tools that need no session are offered, and they work', async () => {
    const { client } = await app.connect();
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo', 'countdown', 'whoami']);
    expect(await call(client, 'echo', { text: 'hello' })).toEqual({ text: 'hello', failed: false });
    expect((await client.callTool({ name: 'whoami' })).structuredContent).toEqual({ session: null, principal: null });
    const { client: patient } = await app.connect({ standalone: false });
    const seen: number[] = [];
    await patient.callTool({ name: 'countdown', arguments: { seconds: 1 } }, undefined, {
      onprogress: ({ progress }) => seen.push(progress),
    });
    expect(seen).toEqual([1]);
  });
});

describe('with MCP_JSON_RESPONSE', () => {
  beforeEach(async () => {
    app = await startApp({ MCP_JSON_RESPONSE: 'true' });
  });

  it('a plain answer is JSON, and an answer after a notification is a stream', async () => {
    const { client, transport } = await app.connect({ standalone: false });
    const response = await fetch(`${app.url}/mcp`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': transport.sessionId ?? '',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 'json',
        method: 'tools/call',
        params: { name: 'echo', arguments: { text: 'hello' } },
      }),
    });
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await response.json()).toMatchObject({ id: 'json', result: { content: [{ text: 'hello' }] } });
    const seen: number[] = [];
    await client.callTool({ name: 'countdown', arguments: { seconds: 1 } }, undefined, {
      onprogress: ({ progress }) => seen.push(progress),
    });
    expect(seen).toEqual([1]);
  });
});
