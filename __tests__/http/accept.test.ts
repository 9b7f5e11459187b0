import { InitializeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { memoryEventStore } from '../../src/index.js';
import { accepts, replyFormOf } from '../../src/transport/reply-form.js';
import { EventStream } from '../support/event-stream.js';
import { initializeBody, messagesOf } from '../support/harness.js';
import { expectRow } from '../support/rows.js';
import { type scriptedServer, startScripted, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon } from '../support/waiting.js';

const JSON_TYPE = 'application/json';
const SSE_TYPE = 'text/event-stream';
const BOTH = `${JSON_TYPE}, ${SSE_TYPE}`;

describe('an Accept header (RFC 9110, 12.5.1)', () => {
  const name = fc.constantFrom(JSON_TYPE, SSE_TYPE, 'application/*', 'text/*', '*/*', 'text/html', 'Application/JSON');
  const parameter = fc.constantFrom(
    '',
    ';v=2',
    '; profile="a, text/event-stream;q=0"',
    ';charset=utf-8',
    '; note="\\", x"',
  );
  const quality = fc.constantFrom<[string, boolean]>(
    ['', true],
    [';q=1', true],
    ['; q=0.001', true],
    [';Q=0.5', true],
    [';q=0', false],
    ['; q = 0.0', false],
    [';q=0.000', false],
  );

  test('accepts a media type if its most specific range does, and ignores parameters other than q=0 (property)', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, parameter, quality), { minLength: 1, maxLength: 5 }), (ranges) => {
        const header = ranges.map(([range, more, [q]]) => `${range}${more}${q}`).join(', ');
        for (const type of [JSON_TYPE, SSE_TYPE]) {
          const byRank = [type, type.replace(/\/.*/, '/*'), '*/*'].map((range) =>
            ranges.filter(([other]) => other.toLowerCase() === range).map(([, , [, accepted]]) => accepted),
          );
          const decisive = byRank.find((found) => found.length > 0) ?? [];
          expect([header, type, accepts(header, type)]).toEqual([header, type, decisive.includes(true)]);
        }
      }),
    );
  });

  test('ends with a quote that does not end, so that it is read in one pass, however many quotes follow', () => {
    expect(replyFormOf(`${JSON_TYPE}; note="\\", ${SSE_TYPE}`)).toBe('json');
    expect(replyFormOf(`${JSON_TYPE}; note=${'"\\'.repeat(1_000)}, ${SSE_TYPE}`)).toBe('json');
  });

  test.each<[string | undefined, ReturnType<typeof replyFormOf>]>([
    [undefined, 'any'],
    ['*/*', 'any'],
    [BOTH, 'any'],
    ['application/*, text/*', 'any'],
    [`${JSON_TYPE};v=1, ${SSE_TYPE};charset=utf-8`, 'any'],
    [JSON_TYPE, 'json'],
    ['application/*', 'json'],
    [`${JSON_TYPE}, ${SSE_TYPE};q=0`, 'json'],
    [`*/*, ${SSE_TYPE};q=0`, 'json'],
    [SSE_TYPE, 'sse'],
    ['text/*', 'sse'],
    [`*/*;q=0, ${SSE_TYPE}`, 'sse'],
    ['', undefined],
    ['text/html', undefined],
    ['*/*;q=0', undefined],
    [`${JSON_TYPE};q=0, ${SSE_TYPE};q=0.0`, undefined],
  ])('%j is answered as %s', (header, form) => {
    expect(replyFormOf(header)).toBe(form);
  });
});

let harness: Scripted;
let started: Scripted[] = [];
afterEach(async () => {
  await Promise.all(started.map((each) => each.close()));
  started = [];
});
async function begin(...init: Parameters<typeof startScripted>): Promise<void> {
  harness = await startScripted(...init);
  started.push(harness);
}

const answer = new Deferred<object>();
const question = { method: 'elicitation/create', params: { message: 'Name?', requestedSchema: { type: 'object' } } };
const METHODS: Readonly<Record<string, Method>> = {
  work: () => ({ done: true }),
  talk: async (_params, { sendNotification }) => {
    await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'on the way' } });
    return { done: true };
  },
  ask: async (_params, extra) => {
    const { sendRequest } = extra as unknown as { sendRequest: (request: object, schema: object) => Promise<object> };
    return { answered: await sendRequest(question, scriptedAnswer) };
  },
  hang: () => answer.promise,
};
/** A schema that accepts any answer. */
const scriptedAnswer = { safeParse: (data: unknown) => ({ success: true, data }), parse: (data: unknown) => data };

const MODES: [name: string, options: () => object][] = [
  ['SSE', () => ({})],
  ['SSE, with an event store', () => ({ eventStore: memoryEventStore() })],
  ['JSON', () => ({ enableJsonResponse: true })],
  ['JSON, with an event store', () => ({ enableJsonResponse: true, eventStore: memoryEventStore() })],
];

describe.each(MODES)('a router that prefers %s', (_, options) => {
  beforeEach(() => begin(METHODS, options()));

  const post = async (accept: string, message: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(harness.url, {
      method: 'POST',
      headers: { 'content-type': JSON_TYPE, accept, ...headers },
      body: JSON.stringify(message),
    });
  const request = (id: number, method: string) => ({ jsonrpc: '2.0', id, method, params: {} });

  test.each(['work', 'talk'])('answers a client that accepts only JSON with one JSON body: %s', async (method) => {
    const { headers } = await harness.session();
    const response = await post(JSON_TYPE, request(1, method), headers);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, JSON_TYPE]);
    // Spec 2025-11-25 has no place for a notification in a JSON body; the SDK's JSON mode drops them, too.
    expect(await response.json()).toEqual({ jsonrpc: '2.0', id: 1, result: { done: true } });
  });

  test.each(['work', 'talk'])('answers a client that accepts only SSE with a stream: %s', async (method) => {
    const { headers } = await harness.session();
    const response = await post(SSE_TYPE, request(1, method), headers);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, SSE_TYPE]);
    expect(messagesOf(await response.text()).at(-1)).toEqual({ jsonrpc: '2.0', id: 1, result: { done: true } });
  });

  test('answers initialize in the form that its client accepts', async () => {
    const json = await post(JSON_TYPE, initializeBody(5));
    expect([json.status, json.headers.get('content-type')]).toEqual([200, JSON_TYPE]);
    expect(await json.json()).toMatchObject({ id: 5, result: { protocolVersion: '2025-11-25' } });
    const sse = await post(SSE_TYPE, initializeBody(6));
    expect([sse.status, sse.headers.get('content-type')]).toEqual([200, SSE_TYPE]);
    expect(messagesOf(await sse.text())).toMatchObject([{ id: 6, result: { protocolVersion: '2025-11-25' } }]);
  });

  test('answers a batch as one array if the client accepts only JSON', async () => {
    const { headers } = await harness.session({ version: '2025-03-26' });
    const response = await post(JSON_TYPE, [request(1, 'talk'), request(2, 'work')], headers);
    expect(response.headers.get('content-type')).toBe(JSON_TYPE);
    expect(await response.json()).toMatchObject([{ id: expect.any(Number) }, { id: expect.any(Number) }]);
  });

  test('sends a request to a client that accepts only JSON on its standalone stream, and then answers', async () => {
    const session = await harness.session({ capabilities: { elicitation: {} } });
    const stream = await session.stream();
    const response = post(JSON_TYPE, request(1, 'ask'), session.headers);
    const asked = await soon('the question', stream.message());
    expect(asked).toMatchObject(question);
    await session.answer(asked.id, { action: 'accept', content: {} });
    expect(await (await response).json()).toMatchObject({ id: 1, result: { answered: { action: 'accept' } } });
  });

  test('fails a request of the server at once if that client has no stream open', async () => {
    const session = await harness.session({ capabilities: { elicitation: {} } });
    const response = await post(JSON_TYPE, request(1, 'ask'), session.headers);
    expect(await response.json()).toMatchObject({ id: 1, error: { message: expect.stringContaining('JSON only') } });
  });

  test('answers a cancelled request if the reply is JSON', async () => {
    const session = await harness.session();
    const response = post(JSON_TYPE, request(1, 'hang'), session.headers);
    await soon(
      'it is cancelled',
      session.cancel(1).then(() => session.cancel(1)),
    );
    const text = await (await soon('the reply', response)).text();
    expect(JSON.parse(text)).toMatchObject({ id: 1, error: { message: 'Request cancelled' } });
  });

  test.each(['text/html', '', `${JSON_TYPE};q=0`])('refuses a client that accepts neither: %j', async (accept) => {
    const refused = await post(accept, initializeBody());
    expectRow({ status: refused.status, body: await refused.text() }, 'notAcceptable');
  });

  test('opens a standalone stream only for a client that accepts SSE', async () => {
    const { headers } = await harness.session();
    const get = (accept: string) => fetch(harness.url, { headers: { ...headers, accept } });
    for (const accept of [JSON_TYPE, `*/*, ${SSE_TYPE};q=0`]) {
      const refused = await get(accept);
      expectRow({ status: refused.status, body: await refused.text() }, 'notAcceptable');
    }
    const opened = await get(`${JSON_TYPE};v=2, text/*;q=0.1`);
    expect(opened.status).toBe(200);
    await opened.body?.cancel();
  });
});

test('a stateless router answers in the form that the client accepts', async () => {
  await begin(METHODS, { stateless: true });
  for (const [accept, type] of [
    [JSON_TYPE, JSON_TYPE],
    [SSE_TYPE, SSE_TYPE],
    [BOTH, SSE_TYPE],
  ] as const) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'talk' });
    const headers = { 'content-type': JSON_TYPE, accept };
    const response = await fetch(harness.url, { method: 'POST', headers, body });
    expect(response.headers.get('content-type')).toBe(type);
    expect(await response.text()).toContain('"done":true');
  }
});

test('the error of a refused initialize has the form that the client accepts', async () => {
  const refuse = (server: ReturnType<typeof scriptedServer>): void => {
    server.setRequestHandler(InitializeRequestSchema, () => {
      throw new Error('not today');
    });
  };
  await begin({}, {}, refuse);
  const headers = { 'content-type': JSON_TYPE, accept: SSE_TYPE };
  const response = await fetch(harness.url, { method: 'POST', headers, body: JSON.stringify(initializeBody(3)) });
  expect(response.headers.get('content-type')).toBe(SSE_TYPE);
  const stream = new EventStream(response);
  expect(await stream.messages()).toMatchObject([{ id: 3, error: { message: 'not today' } }]);
});
