import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema, ResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { startScripted, type Extra, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// SEP-1699, spec 2025-11-25, basic/transports: a server may end the HTTP reply, not the stream, and have its client come
// back for the rest.

let harness: Scripted;
afterEach(() => harness.close());

const say = ({ sendNotification }: Extra, data: string) =>
  sendNotification({ method: 'notifications/message', params: { level: 'info', data } });

/** Counts the GETs with a Last-Event-ID. */
function countResumes(): () => number {
  let resumes = 0;
  harness.http.on('request', (req) => (resumes += Number(req.headers['last-event-id'] !== undefined)));
  return () => resumes;
}

test('an SDK client whose reply is closed during its call reconnects, and misses nothing', async () => {
  const release = new Deferred();
  const work: Method = async (_params, extra) => {
    await say(extra, 'one');
    extra.closeSSEStream?.();
    await say(extra, 'two');
    await release.promise;
    await say(extra, 'three');
    extra.closeSSEStream?.();
    await say(extra, 'four');
    return { done: true };
  };
  harness = await startScripted({ work }, { eventStore: memoryEventStore(), retryInterval: 5 });
  const resumes = countResumes();
  const client = new Client({ name: 'polling', version: '1.0.0' });
  const heard: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.push(params.data));
  await client.connect(new StreamableHTTPClientTransport(harness.url));
  const answer = client.request({ method: 'work' }, ResultSchema);
  await until('it came back once', () => resumes() === 1);
  release.resolve();
  expect(await soon('the answer', answer)).toEqual({ done: true });
  expect(heard).toEqual(['one', 'two', 'three', 'four']);
  expect(resumes()).toBe(2);
  await client.close();
});

test('an SDK client whose standalone stream is closed reconnects, and misses nothing', async () => {
  const work: Method = async (_params, extra, server) => {
    await server.sendLoggingMessage({ level: 'info', data: 'before' });
    extra.closeStandaloneSSEStream?.();
    await server.sendLoggingMessage({ level: 'info', data: 'meanwhile' });
    return {};
  };
  harness = await startScripted({ work }, { eventStore: memoryEventStore(), retryInterval: 5 });
  const resumes = countResumes();
  const client = new Client({ name: 'polling', version: '1.0.0' });
  const heard: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.push(params.data));
  let listening = false;
  harness.http.on('request', (req, res) => {
    if (req.method === 'GET') void until('the head is sent', () => res.headersSent).then(() => (listening = true));
  });
  await client.connect(new StreamableHTTPClientTransport(harness.url));
  await until('its stream is open', () => listening);
  await client.request({ method: 'work' }, ResultSchema);
  await until('it has heard all', () => heard.length === 2);
  expect(heard).toEqual(['before', 'meanwhile']);
  expect(resumes()).toBe(1);
  await client.close();
});

test('an answer that comes while the client is disconnected is replayed, and then the stream ends', async () => {
  const release = new Deferred<object>();
  const work: Method = (_params, extra) => (extra.closeSSEStream?.(), release.promise);
  harness = await startScripted({ work }, { eventStore: memoryEventStore() });
  const session = await harness.session();
  const blocks = await new EventStream(await session.request(1, 'work')).blocks();
  // Spec 2025-11-25, "Sending Messages to the Server", 6: the server SHOULD send `retry` before it closes the connection.
  expect(blocks).toMatchObject([
    { id: expect.any(String), data: '', retry: undefined },
    { id: undefined, data: '', retry: 1_000 },
  ]);
  release.resolve({ done: true });
  await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
  const answer = await (await session.stream(blocks[0]!.id)).messages();
  expect(answer).toEqual([{ jsonrpc: '2.0', id: 1, result: { done: true } }]);
});

test('a client whose reply the server closed has not lost its stream: it counts as idle, not as stream_lost', async () => {
  const release = new Deferred<object>();
  const work: Method = (_params, extra) => (extra.closeSSEStream?.(), release.promise);
  harness = await startScripted({ work }, { eventStore: memoryEventStore() });
  const session = await harness.session();
  await (await session.request(1, 'work')).text();
  release.resolve({});
  await harness.unattached(session);
  harness.clock.advance(60_000);
  expect(harness.router.sessions.get(session.id)).toMatchObject({ state: 'orphaned', orphanCause: 'idle' });
});

test.each([
  ['the client’s version does not know it', '2025-06-18', { eventStore: memoryEventStore() }],
  ['there is no event store', '2025-11-25', {}],
  ['the reply may be JSON', '2025-11-25', { eventStore: memoryEventStore(), enableJsonResponse: true }],
])('a handler cannot send its client away where that could not come back: %s', async (_why, version, options) => {
  const work: Method = (_params, { closeSSEStream, closeStandaloneSSEStream }) => ({
    offered: [closeSSEStream, closeStandaloneSSEStream].map((offer) => typeof offer),
  });
  harness = await startScripted({ work }, options);
  const session = await harness.session({ version });
  expect(await session.call(1, 'work')).toMatchObject({ result: { offered: ['undefined', 'undefined'] } });
});
