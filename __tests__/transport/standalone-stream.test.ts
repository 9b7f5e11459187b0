import type { ServerResponse } from 'node:http';
import { memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Spec 2025-11-25, basic/transports, "Listening for Messages from the Server".

let harness: Scripted;
afterEach(() => harness.close());

const STORES: [name: string, options: () => object][] = [
  ['without an event store', () => ({})],
  ['with an event store', () => ({ eventStore: memoryEventStore() })],
];

const say = (data: string) => harness.servers[0]!.sendLoggingMessage({ level: 'info', data });
const said = (data: string) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });

describe.each(STORES)('the standalone stream (%s)', (_, options) => {
  test('carries what the server says outside any request, in order', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const stream = await session.stream();
    for (const word of ['one', 'two', 'three']) void say(word);
    for (const word of ['one', 'two', 'three']) expect(await stream.message()).toEqual(said(word));
  });

  test('is the only one of its session: a second GET gets 409, and the first goes on', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const stream = await session.stream();
    const second = await session.get();
    expect(second.status).toBe(409);
    expect(await second.json()).toMatchObject({ id: null, error: { code: -32000 } });
    await say('still here');
    expect(await stream.message()).toEqual(said('still here'));
  });

  test('is each session’s own', async () => {
    harness = await startScripted({}, options());
    const [first, second] = [await harness.session(), await harness.session()];
    const streams = [await first.stream(), await second.stream()];
    await Promise.all(
      harness.servers.map((server, n) => server.sendLoggingMessage({ level: 'info', data: `to ${n}` })),
    );
    expect(await streams[0]!.message()).toEqual(said('to 0'));
    expect(await streams[1]!.message()).toEqual(said('to 1'));
  });

  test('can be opened again once its socket has died: no 409, and nothing is left of the first', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    await harness.openAndLose(session);
    const stream = await session.stream();
    await say('to the second');
    expect(await stream.message()).toEqual(said('to the second'));
  });

  test('can be opened again in the very turn in which its socket dies, before the reply has told of it', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    let first: ServerResponse | undefined;
    harness.http.prependListener('request', (req, res) => {
      if (req.method !== 'GET') return;
      if (first === undefined) first = res;
      else first.socket?.destroy();
    });
    await (await session.stream()).block();
    expect((await session.get()).status).toBe(200);
  });

  test('carries what a handler says after its answer, but no progress: that stops with the answer (spec, basic/utilities/progress)', async () => {
    const answered = new Deferred<Extra>();
    harness = await startScripted({ work: (_params, extra) => (answered.resolve(extra), {}) }, options());
    const session = await harness.session();
    const stream = await session.stream();
    await session.call(1, 'work');
    const { sendNotification } = await answered.promise;
    await sendNotification({ method: 'notifications/progress', params: { progressToken: 1, progress: 1 } });
    await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'late' } });
    expect(await stream.message()).toEqual(said('late'));
  });

  test('drops notifications that find no stream open, as JSON-RPC allows', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    await say('to nobody');
    const stream = await session.stream();
    await say('to somebody');
    expect(await stream.message()).toEqual(said('to somebody'));
  });
});

describe('the standalone stream with an event store', () => {
  test('is resumed by Last-Event-ID: what was missed comes first, then what is new, with its IDs', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const lastEventId = await harness.openAndLose(session);
    await say('missed');
    const resumed = await session.stream(lastEventId);
    const missed = await resumed.event();
    expect(missed.message).toEqual(said('missed'));
    await say('new');
    expect(await resumed.message()).toEqual(said('new'));
    // From in between it is the same again.
    const again = await session.stream(missed.id);
    expect(await again.message()).toEqual(said('new'));
  });

  test('is taken over by a GET with its Last-Event-ID, and the one that was open ends', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const first = await session.stream();
    const { id } = (await first.block())!;
    const second = await session.stream(id);
    expect(await soon('the first has ended', first.blocks())).toEqual([]);
    await say('to the second');
    expect(await second.message()).toEqual(said('to the second'));
    expect((await session.get()).status).toBe(409);
  });

  test('is taken over by the last of many that want it', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const { id } = (await (await session.stream()).block())!;
    const all = await Promise.all(Array.from({ length: 10 }, () => session.stream(id)));
    await say('to one of them');
    const heard: unknown[] = [];
    for (const stream of all) void stream.messages().then((messages) => heard.push(messages));
    await until('all but one have ended', () => heard.length === 9);
    await session.terminate();
    await until('the last has ended', () => heard.length === 10);
    expect(heard.at(-1)).toEqual([said('to one of them')]);
  });

  test('takes nothing over for a stream of a request', async () => {
    harness = await startScripted({ work: () => ({}) }, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const standalone = await session.stream();
    const primed = await new EventStream(await session.request(1, 'work')).block();
    await (await session.get(primed!.id)).text();
    await say('still here');
    expect(await standalone.message()).toEqual(said('still here'));
  });
});
