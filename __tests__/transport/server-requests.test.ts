import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  EmptyResultSchema,
  ListRootsRequestSchema,
  ResultSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { REPLIES, startScripted, type LowServer, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const CAPABILITIES = { sampling: {}, elicitation: {}, roots: {} };

/** What a server may ask of its client: on the stream of the request that makes it ask, or on the standalone one. */
const ASKS: Readonly<Record<string, (server: LowServer, on: object) => Promise<object>>> = {
  sampling: (server, on) =>
    server.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: 'Why?' } }], maxTokens: 10 }, on),
  elicitation: (server, on) =>
    server.elicitInput(
      { message: 'Name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } },
      on,
    ),
  roots: (server, on) => server.listRoots({}, on),
  ping: (server, on) => server.request({ method: 'ping' }, EmptyResultSchema, on),
};
const ANSWERS: Readonly<Record<string, object>> = {
  sampling: { model: 'm', role: 'assistant', content: { type: 'text', text: 'Because.' } },
  elicitation: { action: 'accept', content: { name: 'Ada' } },
  roots: { roots: [{ uri: 'file:///home' }] },
  ping: {},
};

const methods: Record<string, Method> = {
  'ask here': ({ what }, { requestId }, server) => ASKS[what!]!(server, { relatedRequestId: requestId }),
  'ask there': ({ what }, _extra, server) => ASKS[what!]!(server, {}),
};

/** An SDK client that can do all that it may be asked for. */
async function askableClient(): Promise<Client> {
  const client = new Client({ name: 'askable', version: '1.0.0' }, { capabilities: CAPABILITIES });
  client.setRequestHandler(CreateMessageRequestSchema, () => ANSWERS.sampling as never);
  client.setRequestHandler(ElicitRequestSchema, () => ANSWERS.elicitation as never);
  client.setRequestHandler(ListRootsRequestSchema, () => ANSWERS.roots as never);
  await client.connect(new StreamableHTTPClientTransport(harness.url));
  return client;
}

describe.each(REPLIES)('a server that asks its client (%s)', (_, options) => {
  test.each(Object.keys(ASKS))(
    'for %s gets its answer, on the stream of a request and on the standalone one',
    async (what) => {
      harness = await startScripted(methods, options());
      const client = await askableClient();
      for (const method of Object.keys(methods)) {
        expect(await client.request({ method, params: { what } }, ResultSchema)).toEqual(ANSWERS[what]);
      }
      await client.close();
    },
  );

  test('gets each answer to its own question, when a hundred calls of two sessions ask at once', async () => {
    const echo: Method = async ({ n }, { requestId }, server) => {
      const { content } = await server.elicitInput(
        { message: String(n), requestedSchema: { type: 'object', properties: { n: { type: 'string' } } } },
        { relatedRequestId: requestId },
      );
      return { n: content?.n };
    };
    harness = await startScripted({ echo }, options());
    const clients = await Promise.all(['a', 'b'].map(() => askableClient()));
    const answers = clients.flatMap((client, name) => {
      client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
        return { action: 'accept', content: { n: `${name}:${params.message}` } };
      });
      return Array.from({ length: 50 }, (__, n) => client.request({ method: 'echo', params: { n } }, ResultSchema));
    });
    const expected = [0, 1].flatMap((name) => Array.from({ length: 50 }, (__, n) => ({ n: `${name}:${n}` })));
    expect(await Promise.all(answers)).toEqual(expected);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('asks on the stream of the reply, which is SSE also where JSON is preferred', async () => {
    harness = await startScripted(methods, options());
    const session = await harness.session({ capabilities: CAPABILITIES });
    const response = await session.request(7, 'ask here', { what: 'elicitation' });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const stream = new EventStream(response);
    const question = await stream.message();
    expect(question).toMatchObject({ jsonrpc: '2.0', method: 'elicitation/create', params: { message: 'Name?' } });
    await session.answer(question.id, ANSWERS.elicitation!);
    expect(await stream.messages()).toEqual([{ jsonrpc: '2.0', id: 7, result: ANSWERS.elicitation }]);
  });

  test('gets the error that the client answers with', async () => {
    harness = await startScripted(methods, options());
    const session = await harness.session({ capabilities: CAPABILITIES });
    const stream = new EventStream(await session.request(7, 'ask here', { what: 'roots' }));
    const { id } = await stream.message();
    await session.post({ jsonrpc: '2.0', id, error: { code: -1, message: 'will not' } });
    expect(await stream.messages()).toMatchObject([{ id: 7, error: { code: -1 } }]);
  });

  test('ignores an answer to a question that it did not ask, and a second answer', async () => {
    harness = await startScripted(methods, options());
    const session = await harness.session({ capabilities: CAPABILITIES });
    const stream = new EventStream(await session.request(7, 'ask here', { what: 'ping' }));
    const { id } = await stream.message();
    for (const unknown of [Number(id) + 1, 'unknown', -1]) await session.answer(unknown, { wrong: true });
    await session.answer(id, {});
    await session.answer(id, { wrong: true });
    expect(await stream.messages()).toEqual([{ jsonrpc: '2.0', id: 7, result: {} }]);
  });

  test('is not answered by another session that knows the ID', async () => {
    harness = await startScripted(methods, options());
    const [session, other] = [await harness.session({ capabilities: CAPABILITIES }), await harness.session()];
    const stream = new EventStream(await session.request(7, 'ask here', { what: 'elicitation' }));
    const { id } = await stream.message();
    await other.answer(id, { action: 'accept', content: { name: 'Mallory' } });
    await session.answer(id, ANSWERS.elicitation!);
    expect(await stream.messages()).toEqual([{ jsonrpc: '2.0', id: 7, result: ANSWERS.elicitation }]);
  });

  test('and times out cancels the question on the same stream', async () => {
    const giveUp = new AbortController();
    const ask: Method = async (_params, { requestId }, server) => {
      const asked = ASKS.roots!(server, { relatedRequestId: requestId, signal: giveUp.signal });
      return { told: await asked.catch(String) };
    };
    harness = await startScripted({ ask }, options());
    const session = await harness.session({ capabilities: CAPABILITIES });
    const stream = new EventStream(await session.request(7, 'ask'));
    const { id } = await stream.message();
    giveUp.abort('no time');
    expect(await stream.message()).toMatchObject({ method: 'notifications/cancelled', params: { requestId: id } });
    expect(await stream.messages()).toMatchObject([{ id: 7, result: { told: expect.stringContaining('no time') } }]);
  });
});

describe('a server that asks a disconnected client', () => {
  const startGone = async (options: object) => {
    const goOn = new Deferred();
    const told = new Deferred<unknown>();
    const ask: Method = async (_params, { requestId, sendNotification }, server) => {
      await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
      await goOn.promise;
      await ASKS.elicitation!(server, { relatedRequestId: requestId }).then(told.resolve, told.resolve);
      return {};
    };
    harness = await startScripted({ ask }, options);
    const session = await harness.session({ capabilities: CAPABILITIES });
    const hangUp = new AbortController();
    const gone = harness.socketsGone();
    const stream = new EventStream(await session.request(1, 'ask', {}, hangUp.signal));
    const { id } = await stream.event();
    hangUp.abort();
    await until('the router knows', () => harness.socketsGone() > gone);
    goOn.resolve();
    return { session, told: told.promise, lastEventId: id };
  };

  test.each([
    ['SSE', {}],
    ['JSON', { enableJsonResponse: true }],
  ])('gets an error at once where the client cannot resume (%s)', async (_, options) => {
    const { told } = await startGone(options);
    expect(String(await soon('it gets an error', told))).toContain('The client has gone');
  });

  test('gets its answer when the client resumes', async () => {
    const { session, told, lastEventId } = await startGone({ eventStore: memoryEventStore() });
    const stream = await session.stream(lastEventId);
    const question = await soon('the question', stream.message());
    await session.answer(question.id, ANSWERS.elicitation!);
    expect(await told).toEqual(ANSWERS.elicitation);
    expect(await stream.messages()).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
  });
});

test('a stateless server cannot ask, as the answer would reach another server', async () => {
  const told = new Deferred<unknown>();
  harness = await startScripted(
    { ask: async (_params, _extra, server) => (await ASKS.ping!(server, {}).then(told.resolve, told.resolve), {}) },
    { stateless: true },
  );
  const client = await harness.client();
  await client.request({ method: 'ask' }, ResultSchema);
  expect(String(await told.promise)).toContain('A stateless server cannot send requests');
});
