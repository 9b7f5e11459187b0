import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { memoryEventStore } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import type { RawSession } from '../support/raw-session.js';
import { startScripted, type Scripted } from '../support/scripted.js';
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

/** Opens a stream and hangs up; resolves when the router knows. */
async function openAndLose(session: RawSession): Promise<string | undefined> {
  const hangUp = new AbortController();
  const stream = await session.stream(undefined, hangUp.signal);
  const first = await stream.block();
  hangUp.abort();
  await harness.unattached(session);
  return first?.id;
}

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
    await Promise.all(harness.servers.map((server, n) => server.sendLoggingMessage({ level: 'info', data: `to ${n}` })));
    expect(await streams[0]!.message()).toEqual(said('to 0'));
    expect(await streams[1]!.message()).toEqual(said('to 1'));
  });

  test('can be opened again once its socket has died: no 409, and nothing is left of the first', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    await openAndLose(session);
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
    const lastEventId = await openAndLose(session);
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

describe('requests of the server while no standalone stream is open', () => {
  const roots = { roots: [{ uri: 'file:///home', name: 'home' }] };
  /** Asks; a test that fails leaves it unanswered, which must not be taken for another failure. */
  const ask = (signal?: AbortSignal) => {
    const asked = harness.servers[0]!.listRoots({}, signal && { signal });
    asked.catch(() => undefined);
    return asked;
  };

  test.each(STORES)('are held and go out when it opens: roots can be asked for in oninitialized (%s)', async (_, options) => {
    const listed = new Deferred<unknown>();
    harness = await startScripted({}, options(), (server) => {
      server.oninitialized = () => void server.listRoots().then(listed.resolve, listed.reject);
    });
    const session = await harness.session({ capabilities: { roots: {} } });
    const stream = await session.stream();
    const { id } = await soon('the request', stream.message());
    await session.answer(id, roots);
    expect(await listed.promise).toEqual(roots);
  });

  const MOMENTS: [when: string, wait: () => Promise<unknown>][] = [
    ['at once', () => Promise.resolve()],
    ['while they are held', () => setImmediate()],
  ];
  const CANCELLED = STORES.flatMap(([store, options]) =>
    MOMENTS.map(([when, wait]) => [when, store, wait, options] as const),
  );

  test.each(CANCELLED)('are never delivered when they are cancelled %s (%s)', async (_when, _store, wait, options) => {
    harness = await startScripted({}, options());
    const session = await harness.session({ capabilities: { roots: {} } });
    const giveUp = new AbortController();
    const asked = ask(giveUp.signal);
    await wait();
    giveUp.abort();
    await expect(asked).rejects.toThrow();
    await setImmediate();
    const stream = await session.stream();
    await say('the fence');
    expect(await stream.message()).toEqual(said('the fence'));
  });

  test.each(MOMENTS)('and that are cancelled %s: a client that finds them when it resumes finds that too', async (_when, wait) => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session({ capabilities: { roots: {} } });
    const lastEventId = await openAndLose(session);
    const giveUp = new AbortController();
    const asked = ask(giveUp.signal);
    await wait();
    giveUp.abort();
    await expect(asked).rejects.toThrow();
    await say('the fence');
    const stream = await session.stream(lastEventId);
    const request = await stream.message();
    expect(request).toMatchObject({ method: 'roots/list' });
    expect(await stream.message()).toMatchObject({ method: 'notifications/cancelled', params: { requestId: request.id } });
    expect(await stream.message()).toEqual(said('the fence'));
  });

  test('reach a client that resumes also when they could not be stored', async () => {
    let broken = false;
    const eventStore = storeWith((inner) => ({
      storeEvent: (streamId, message) => {
        if (broken) throw new Error('the disk is full');
        return inner.storeEvent(streamId, message);
      },
    }));
    harness = await startScripted({}, { eventStore });
    const session = await harness.session({ capabilities: { roots: {} } });
    const lastEventId = await openAndLose(session);
    broken = true;
    const asked = ask();
    await setImmediate();
    const stream = await session.stream(lastEventId);
    await session.answer((await soon('the request', stream.message())).id, roots);
    expect(await asked).toEqual(roots);
  });

  test.each(STORES)('are rejected beyond the 32nd (%s)', async (_, options) => {
    harness = await startScripted({}, options());
    const session = await harness.session({ capabilities: { roots: {} } });
    const held = Array.from({ length: 32 }, () => ask());
    await setImmediate();
    await expect(ask()).rejects.toThrow('too many requests wait for one');
    const stream = await session.stream();
    for (const asked of held) {
      await session.answer((await stream.message()).id, roots);
      expect(await asked).toEqual(roots);
    }
  });

  test.each(STORES)('are not sent twice: a stream that opens later does not get them again (%s)', async (_, options) => {
    harness = await startScripted({}, options());
    const session = await harness.session({ capabilities: { roots: {} } });
    const asked = ask();
    const hangUp = new AbortController();
    const first = await session.stream(undefined, hangUp.signal);
    const { id } = await first.message();
    hangUp.abort();
    await harness.unattached(session);
    const second = await session.stream();
    await session.answer(id, roots);
    expect(await asked).toEqual(roots);
    await say('the fence');
    expect(await second.message()).toEqual(said('the fence'));
  });

  test('are held on when the stream that opened was lost before it could carry them', async () => {
    const gate = new Deferred();
    const storing = new Deferred();
    let wait = false;
    const eventStore = storeWith((inner) => ({
      storeEvent: async (streamId, message) => {
        if (wait) {
          wait = false;
          storing.resolve();
          await gate.promise;
        }
        return inner.storeEvent(streamId, message);
      },
    }));
    harness = await startScripted({}, { eventStore });
    const session = await harness.session({ capabilities: { roots: {} } });
    const asked = ask();
    await setImmediate();
    wait = true;
    const hangUp = new AbortController();
    const gone = harness.socketsGone();
    const lost = session.get(undefined, hangUp.signal);
    await storing.promise;
    hangUp.abort();
    await expect(lost).rejects.toThrow('abort');
    await until('the router knows', () => harness.socketsGone() > gone);
    gate.resolve();
    await harness.unattached(session);
    const stream = await session.stream();
    await session.answer((await soon('the request', stream.message())).id, roots);
    expect(await asked).toEqual(roots);
  });
});
