import { CreateMessageResultSchema, EmptyResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { EventStream, type WireMessage } from '../support/event-stream.js';
import { messagesOf } from '../support/harness.js';
import { REPLIES, startScripted, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Spec 2025-03-26, basic/transports: a POST may hold an array of messages. 2025-06-18 removed that.

let harness: Scripted;
afterEach(() => harness.close());

const request = (id: string | number, method: string, params: object = {}) => ({ jsonrpc: '2.0', id, method, params });
const notification = (method: string, params: object = {}) => ({ jsonrpc: '2.0', method, params });

const add: Method = ({ a, b }) => ({ sum: Number(a) + Number(b) });

describe.each(REPLIES)('a batch (%s)', (_, options) => {
  const json = 'enableJsonResponse' in options();
  /** The messages of the reply: a JSON array, or one event each. */
  const messages = async (response: Response): Promise<WireMessage[]> => {
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe(json ? 'application/json' : 'text/event-stream');
    const text = await response.text();
    return (json ? JSON.parse(text) : messagesOf(text)) as WireMessage[];
  };
  const byId = (answers: readonly WireMessage[]) =>
    [...answers].sort((a, b) => String(a.id).localeCompare(String(b.id)));

  test('of requests gets an answer for each, and one reply', async () => {
    harness = await startScripted({ add }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const batch = [request(0, 'add', { a: 1, b: 2 }), request('x', 'nope'), request(2, 'ping')];
    const answers = await messages(await session.post(batch));
    expect(byId(answers)).toEqual([
      { jsonrpc: '2.0', id: 0, result: { sum: 3 } },
      { jsonrpc: '2.0', id: 2, result: {} },
      { jsonrpc: '2.0', id: 'x', error: { code: -32601, message: expect.any(String) } },
    ]);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
  });

  test('of one request gets an array of one answer where it is JSON (JSON-RPC 2.0, 6)', async () => {
    harness = await startScripted({ add }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const answers = await messages(await session.post([request(1, 'add', { a: 1, b: 1 })]));
    expect(answers).toEqual([{ jsonrpc: '2.0', id: 1, result: { sum: 2 } }]);
  });

  test('of notifications and responses only gets 202', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session({ version: '2025-03-26' });
    const response = await session.post([
      notification('notifications/roots/list_changed'),
      { jsonrpc: '2.0', id: 99, result: {} },
      { jsonrpc: '2.0', id: 98, error: { code: 1, message: 'no' } },
    ]);
    expect([response.status, await response.text()]).toEqual([202, '']);
  });

  test('of messages of every kind handles each message as if it came alone', async () => {
    const ask: Method = async (_params, { requestId }, server) => {
      await server.request({ method: 'ping' }, EmptyResultSchema, { relatedRequestId: requestId });
      return { asked: true };
    };
    const release = new Deferred<object>();
    harness = await startScripted({ ask, add, wait: () => release.promise }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const asking = new EventStream(await session.request('asking', 'ask'));
    const question = await asking.message();
    const waiting = session.request('waiting', 'wait');
    await until('it waits', () => harness.router.sessions.get(session.id)?.requests === 2);

    const response = await session.post([
      { jsonrpc: '2.0', id: question.id, result: {} },
      request(1, 'add', { a: 2, b: 2 }),
      notification('notifications/cancelled', { requestId: 'waiting' }),
      request(2, 'ping'),
    ]);

    expect(byId(await messages(response)).map(({ id }) => id)).toEqual([1, 2]);
    expect(await asking.messages()).toMatchObject([{ id: 'asking', result: { asked: true } }]);
    await soon('the cancelled one has ended', (await waiting).text());
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
  });

  test('in which one request asks for sampling answers the others at once, and this one after the answer of the client', async () => {
    const ask: Method = async ({ text }, { sendRequest }) => {
      const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: text! } }];
      const params = { messages, maxTokens: 10 };
      const { content } = await sendRequest({ method: 'sampling/createMessage', params }, CreateMessageResultSchema);
      return { content };
    };
    harness = await startScripted({ add, ask }, options());
    const session = await harness.session({ version: '2025-03-26', capabilities: { sampling: {} } });
    const response = await session.post([request(1, 'ask', { text: 'why?' }), request(2, 'add', { a: 1, b: 2 })]);
    const stream = new EventStream(response);
    const first = [await stream.message(), await stream.message()];
    const question = first.find(({ method }) => method === 'sampling/createMessage');
    expect(question).toMatchObject({ params: { messages: [{ content: { text: 'why?' } }], maxTokens: 10 } });
    expect(first).toContainEqual({ jsonrpc: '2.0', id: 2, result: { sum: 3 } });
    expect(harness.router.sessions.get(session.id)?.requests).toBe(1);

    const content = { type: 'text', text: 'because' };
    await session.answer(question!.id, { model: 'of the test', role: 'assistant', content });
    expect(await soon('the stream has ended', stream.messages())).toEqual([
      { jsonrpc: '2.0', id: 1, result: { content } },
    ]);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
  });

  test('in which one request is cancelled answers the others', async () => {
    const release = new Deferred<object>();
    harness = await startScripted({ add, wait: () => release.promise }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const reply = session.post([request(1, 'wait'), request(2, 'wait'), request(3, 'add', { a: 1, b: 0 })]);
    await until('two wait', () => harness.router.sessions.get(session.id)?.requests === 2);
    await session.cancel(1);
    release.resolve({ waited: true });
    const answers = byId(await soon('the reply has ended', reply.then(messages)));
    const cancelled = { jsonrpc: '2.0', id: 1, error: { code: -32000, message: 'Request cancelled' } };
    expect(answers).toEqual([
      ...(json ? [cancelled] : []),
      { jsonrpc: '2.0', id: 2, result: { waited: true } },
      { jsonrpc: '2.0', id: 3, result: { sum: 1 } },
    ]);
  });

  test('that cancels its own request ends without an answer to it', async () => {
    const wait: Method = () => new Promise(() => undefined);
    harness = await startScripted({ wait }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const reply = session.post([request(1, 'wait'), notification('notifications/cancelled', { requestId: 1 })]);
    const answers = await soon('the reply has ended', reply.then(messages));
    expect(answers.map(({ result }) => result)).toEqual(json ? [undefined] : []);
  });

  test('in which one request sends a notification before its answer becomes SSE, and loses no message', async () => {
    const release = new Deferred();
    const talk: Method = async (_params, { sendNotification }) => {
      await release.promise;
      await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'hello' } });
      return { talked: true };
    };
    harness = await startScripted({ add, talk }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const reply = session.post([request(1, 'add', { a: 1, b: 2 }), request(2, 'talk')]);
    await until('one is answered', () => harness.router.sessions.get(session.id)?.requests === 1);
    release.resolve();
    expect(
      await soon(
        'the stream has ended',
        reply.then((response) => new EventStream(response).messages()),
      ),
    ).toEqual([
      { jsonrpc: '2.0', id: 1, result: { sum: 3 } },
      { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'hello' } },
      { jsonrpc: '2.0', id: 2, result: { talked: true } },
    ]);
  });

  test('is settled whole when its session ends', async () => {
    const wait: Method = () => new Promise(() => undefined);
    harness = await startScripted({ wait }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const reply = session.post([request(1, 'wait'), request(2, 'wait')]);
    await until('both wait', () => harness.router.sessions.get(session.id)?.requests === 2);
    await session.terminate();
    const answers = await soon('the reply has ended', reply.then(messages));
    expect(byId(answers)).toMatchObject([1, 2].map((id) => ({ id, error: { message: 'Session closed' } })));
  });

  test.each(['2025-06-18', '2025-11-25'])('from a client on %s is refused with 400 and -32600', async (version) => {
    harness = await startScripted({}, options());
    const session = await harness.session({ version });
    const response = await session.post([request(1, 'ping')]);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: -32600 } });
  });
});
