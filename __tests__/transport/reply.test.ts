import { AsyncLocalStorage } from 'node:async_hooks';
import { memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { initializeBody, messagesOf, post } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, startScripted, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const talk: Method = async (_params, { sendNotification }) => {
  await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
  return { done: true };
};

describe('the head of a reply', () => {
  test.each(REPLIES)('names the session, and keeps proxies from holding events back (%s)', async (_, options) => {
    harness = await startScripted({ talk }, options());
    const session = await harness.session();
    const { headers } = await session.request(1, 'talk');
    expect(headers.get('mcp-session-id')).toBe(session.id);
    expect(headers.get('content-type')).toBe('text/event-stream');
    expect(headers.get('cache-control')).toBe('no-cache, no-transform');
    expect(headers.get('x-accel-buffering')).toBe('no');
    expect((await session.get()).headers.get('mcp-session-id')).toBe(session.id);
  });

  test('has a Content-Length when the reply is one event, so that it is one write', async () => {
    harness = await startScripted({ work: () => ({ text: 'äöü' }) });
    const session = await harness.session();
    const response = await session.request(1, 'work');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const text = await response.text();
    expect(Number(response.headers.get('content-length'))).toBe(Buffer.byteLength(text));
    expect(text).toBe('event: message\ndata: {"result":{"text":"äöü"},"jsonrpc":"2.0","id":1}\n\n');
  });

  test('has a Content-Length when the reply is JSON', async () => {
    harness = await startScripted({ work: () => ({ text: 'äöü' }) }, { enableJsonResponse: true });
    const session = await harness.session();
    const response = await session.request(1, 'work');
    expect(response.headers.get('content-type')).toBe('application/json');
    const text = await response.text();
    expect(Number(response.headers.get('content-length'))).toBe(Buffer.byteLength(text));
    expect(JSON.parse(text)).toEqual({ jsonrpc: '2.0', id: 1, result: { text: 'äöü' } });
  });

  test('has a Content-Length when all its events came within a turn of the event loop, so that they are one write', async () => {
    harness = await startScripted({ talk });
    const session = await harness.session();
    const response = await session.request(1, 'talk');
    const text = await response.clone().text();
    expect(Number(response.headers.get('content-length'))).toBe(Buffer.byteLength(text));
    expect(await new EventStream(response).messages()).toMatchObject([{ params: { data: 'begun' } }, { id: 1 }]);
  });

  test('has no Content-Length when more events are to come', async () => {
    const answer = new Deferred<object>();
    harness = await startScripted({ talk: async (...args) => (await talk(...args), answer.promise) });
    const session = await harness.session();
    const response = await session.request(1, 'talk');
    expect(response.headers.get('content-length')).toBeNull();
    answer.resolve({});
    expect(await new EventStream(response).messages()).toMatchObject([{ params: { data: 'begun' } }, { id: 1 }]);
  });

  test.each([[{}], [{ enableJsonResponse: true }]])(
    'names no session when there is none (stateless, %j)',
    async (options) => {
      harness = await startScripted({ talk }, { stateless: true, ...options });
      const response = await post(harness.url, initializeBody());
      expect(response.headers.get('mcp-session-id')).toBeNull();
      expect(await answerOf(response)).toMatchObject({ id: 0, result: {} });
    },
  );
});

test('ends in the AsyncLocalStorage of its own request, also where many replies end in one turn of the event loop', async () => {
  const storage = new AsyncLocalStorage<string>();
  const heard: [mine: string, stored: string | undefined][] = [];
  const gate = new Deferred();
  let waiting = 0;
  const work: Method = async () => {
    waiting += 1;
    await gate.promise;
    return {};
  };
  harness = await startScripted({ work }, {}, undefined, (app, router) => {
    app.use((req, res, next) => {
      const mine = req.headers['x-request'];
      if (typeof mine !== 'string') return next();
      res.once('finish', () => heard.push([mine, storage.getStore()]));
      storage.run(mine, next);
    });
    app.use('/mcp', router);
  });
  const session = await harness.session();
  const names = Array.from({ length: 20 }, (_, n) => `request ${n}`);
  const call = (name: string, id: number) =>
    post(harness.url, { jsonrpc: '2.0', id, method: 'work' }, { ...session.headers, 'x-request': name }).then(answerOf);
  const replies = names.map(call);
  await until('all wait', () => waiting === names.length);
  gate.resolve();
  await Promise.all(replies);
  await until('all are heard', () => heard.length === names.length);
  // While a storage is enabled, Node 20 runs its hook for each promise of this process, those of later test files included.
  storage.disable();
  expect(heard.sort()).toEqual(names.map((name) => [name, name]).sort());
});

describe('a reply without output', () => {
  const COMMENT = { comment: 'keep-alive', data: '', id: undefined, retry: undefined };

  test('gets its head after a second if it is SSE, and nothing else', async () => {
    const release = new Deferred<object>();
    const started = new Deferred();
    harness = await startScripted({ work: () => (started.resolve(), release.promise) });
    const session = await harness.session();
    let head = false;
    const reply = session.request(1, 'work').finally(() => (head = true));
    await started.promise;
    harness.clock.advance(999);
    await session.call(2, 'ping');
    expect(head).toBe(false);
    harness.clock.advance(1);
    const response = await soon('the head', reply);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('mcp-session-id')).toBe(session.id);
    release.resolve({});
    expect(await response.text()).toBe('event: message\ndata: {"result":{},"jsonrpc":"2.0","id":1}\n\n');
  });

  test('gets its head no later than keepAlive, and an answer in the same turn still has a Content-Length', async () => {
    const started = new Deferred();
    const hang: Method = () => (started.resolve(), never());
    harness = await startScripted({ hang, work: () => ({}) }, { keepAlive: 200 });
    const session = await harness.session();
    const reply = session.request(1, 'hang');
    await started.promise;
    harness.clock.advance(200);
    await (await soon('the head', reply)).body?.cancel();
    expect((await session.request(2, 'work')).headers.get('content-length')).not.toBeNull();
  });

  test('gets its head, then a comment after each keepAlive', async () => {
    const release = new Deferred<object>();
    const started = new Deferred();
    harness = await startScripted({ work: () => (started.resolve(), release.promise) }, { keepAlive: 5_000 });
    const session = await harness.session();
    const reply = session.request(1, 'work');
    await started.promise;
    harness.clock.advance(1_000);
    const stream = new EventStream(await soon('the head', reply));
    harness.clock.advance(5_000);
    expect(await stream.block()).toEqual(COMMENT);
    harness.clock.advance(5_000);
    expect(await stream.block()).toEqual(COMMENT);
    harness.clock.advance(4_999);
    release.resolve({});
    expect(await stream.messages()).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
  });

  test('gets a comment, which has no event ID, after each keepAlive when it was primed', async () => {
    harness = await startScripted({ hang: never }, { keepAlive: 5_000, eventStore: memoryEventStore() });
    const session = await harness.session();
    const stream = new EventStream(await session.request(1, 'hang'));
    expect(await stream.block()).toMatchObject({ id: expect.any(String) });
    for (let interval = 0; interval < 3; interval += 1) {
      harness.clock.advance(5_000);
      expect(await soon('a comment', stream.block())).toEqual(COMMENT);
    }
  });

  test('gets no comment while it may still become JSON', async () => {
    const release = new Deferred<object>();
    const started = new Deferred();
    harness = await startScripted(
      { work: () => (started.resolve(), release.promise) },
      { keepAlive: 5_000, enableJsonResponse: true },
    );
    const session = await harness.session();
    const reply = session.request(1, 'work');
    await started.promise;
    harness.clock.advance(50_000);
    release.resolve({});
    const response = await reply;
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
  });

  test('gets comments from its last output on, as a standalone stream does', async () => {
    harness = await startScripted({}, { keepAlive: 5_000 });
    const session = await harness.session();
    const stream = await session.stream();
    harness.clock.advance(4_000);
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'here' });
    await stream.message();
    harness.clock.advance(4_000);
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'still' });
    expect(await stream.block()).toMatchObject({ comment: undefined, data: expect.stringContaining('still') });
    harness.clock.advance(5_000);
    expect(await stream.block()).toEqual(COMMENT);
  });

  test('shares one timer with all replies', async () => {
    harness = await startScripted({ hang: never });
    const sessions = [await harness.session(), await harness.session()];
    await sessions[0]!.stream();
    const timers = harness.clock.pending;
    await sessions[1]!.stream();
    // One less: nothing waits to be orphaned any more.
    expect(harness.clock.pending).toBeLessThanOrEqual(timers);
  });
});

describe('the first block of a stream (spec 2025-11-25, "Sending Messages to the Server", 6, and SEP-1699)', () => {
  const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26'];

  test.each(VERSIONS)(
    'has an event ID and no data where the client can resume from that, and only there: %s',
    async (version) => {
      harness = await startScripted({ talk }, { eventStore: memoryEventStore() });
      const session = await harness.session({ version });
      const [first] = await new EventStream(await session.request(1, 'talk')).blocks();
      const standalone = await session.stream();
      if (version >= '2025-11-25') {
        expect(first).toEqual({ id: expect.any(String), retry: undefined, comment: undefined, data: '' });
        expect(await standalone.block()).toEqual(first && { ...first, id: expect.any(String) });
      } else {
        // Older clients take an event without data for a broken message.
        expect(first).toMatchObject({ id: expect.any(String), data: expect.stringContaining('begun') });
        await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'first' });
        expect(await standalone.block()).toMatchObject({
          id: expect.any(String),
          data: expect.stringContaining('first'),
        });
      }
    },
  );

  test.each(VERSIONS)('has no event ID without an event store: %s', async (version) => {
    harness = await startScripted({ talk });
    const session = await harness.session({ version });
    const blocks = await new EventStream(await session.request(1, 'talk')).blocks();
    expect(blocks.map(({ id, retry }) => [id, retry])).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ]);
    const standalone = await session.stream();
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'first' });
    expect(await standalone.block()).toMatchObject({ id: undefined, data: expect.stringContaining('first') });
  });

  // java-sdk#1047: the Java client fails on the field; others take a block without data for a broken message.
  test.each([0, 250])(
    'has the retry field if there is a retryInterval (%d), within the first event only',
    async (ms) => {
      for (const options of [{}, { eventStore: memoryEventStore() }]) {
        harness = await startScripted({ talk }, { retryInterval: ms, ...options });
        const session = await harness.session({ version: '2025-06-18' });
        const [begun, answer] = await new EventStream(await session.request(1, 'talk')).blocks();
        expect([begun, answer]).toMatchObject([
          { retry: ms, data: expect.stringContaining('begun') },
          { retry: undefined },
        ]);
        // With its only event a stream ends: there is nothing to come back for.
        expect(await (await session.request(2, 'ping')).text()).not.toContain('retry');
        const standalone = await session.stream();
        for (const data of ['one', 'two']) await harness.servers[0]!.sendLoggingMessage({ level: 'info', data });
        expect(await standalone.block()).toMatchObject({ retry: ms, data: expect.stringContaining('one') });
        expect(await standalone.block()).toMatchObject({ retry: undefined, data: expect.stringContaining('two') });
        await harness.close();
      }
      harness = await startScripted({ talk }, { retryInterval: ms, eventStore: memoryEventStore() });
      const primed = await new EventStream(await (await harness.session()).request(1, 'talk')).blocks();
      expect(primed.map(({ id, retry }) => [typeof id, retry])).toEqual([
        ['string', ms],
        ['string', undefined],
        ['string', undefined],
      ]);
    },
  );

  test.each([
    [{}, 1_000],
    [{ retryInterval: 0 }, 0],
    [{ retryInterval: 70 }, 70],
  ])('stands before the end of a stream that the server ends, as the spec asks (%j)', async (options, retry) => {
    harness = await startScripted({}, options);
    const session = await harness.session();
    const stream = await session.stream();
    await harness.router.drain(1_000);
    expect(await stream.blocks()).toEqual([{ id: undefined, comment: undefined, data: '', retry }]);
  });
});

test('every byte of a stream is valid (HTML, 9.2.6), whatever a message holds', async () => {
  const nasty = 'a\nb\r\nc\rd\u2028e\0f: data: g\n\nid: 1\n\n\u{1f600}';
  const work: Method = async (_params, { sendNotification }) => {
    await sendNotification({ method: 'notifications/message', params: { level: 'info', data: nasty } });
    return { nasty };
  };
  harness = await startScripted({ work }, { eventStore: memoryEventStore() });
  const session = await harness.session();
  const messages = await new EventStream(await session.request(1, 'work')).messages();
  expect(messages).toMatchObject([{ params: { data: nasty } }, { result: { nasty } }]);
});

test('Unicode line breaks, at which some clients split, are escaped in a stream (modelcontextprotocol/python-sdk#1356)', async () => {
  const data = 'a\u0085b\u2028c\u2029d\\u2028\u0086\u2030é';
  const work: Method = async (_params, { sendNotification }) => {
    await sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
    return { [data]: data };
  };
  harness = await startScripted({ work }, { eventStore: memoryEventStore() });
  const session = await harness.session();
  const text = await (await session.request(1, 'work')).text();
  expect(text).not.toMatch(/[\u0085\u2028\u2029]/);
  expect(messagesOf(text)).toMatchObject([{ params: { data } }, { result: { [data]: data } }]);
  // A replay takes the events from the store, where they are not escaped.
  const [primed] = /(?<=id: )\S+/.exec(text) ?? [];
  const replayed = await (await session.get(primed)).text();
  expect(replayed).not.toMatch(/[\u0085\u2028\u2029]/);
  expect(messagesOf(replayed)).toEqual(messagesOf(text));
});

test('a client of HTTP/1.0 gets its reply without chunks, up to the end of the connection', async () => {
  harness = await startScripted({ talk });
  const session = await harness.session();
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'talk' });
  const headers = Object.entries({
    ...session.headers,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  });
  const request = requestBytes('POST', '/mcp', headers, body).toString('latin1').replace('HTTP/1.1', 'HTTP/1.0');
  const socket = await RawSocket.open(harness.url.port);
  await socket.write(request);
  const response = await soon('the response', socket.response());
  expect(response.headers.has('transfer-encoding')).toBe(false);
  expect(response.body).toContain('"result":{"done":true}');
});
