import { setImmediate } from 'node:timers/promises';
import { memoryEventStore } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { startScripted, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// The SDK's client opens its standalone stream only after `notifications/initialized`, which is just when a server may first
// ask it for something (spec 2025-11-25, basic/lifecycle).

let harness: Scripted;
afterEach(() => harness.close());

const STORES: [name: string, options: () => object][] = [
  ['without an event store', () => ({})],
  ['with an event store', () => ({ eventStore: memoryEventStore() })],
];

const say = (data: string) => harness.servers[0]!.sendLoggingMessage({ level: 'info', data });
const said = (data: string) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });

describe('requests of the server while no standalone stream is open', () => {
  const roots = { roots: [{ uri: 'file:///home', name: 'home' }] };
  /** Asks; a test that fails leaves it unanswered, which must not be taken for another failure. */
  const ask = (signal?: AbortSignal) => {
    const asked = harness.servers[0]!.listRoots({}, signal && { signal });
    asked.catch(() => undefined);
    return asked;
  };

  test.each(STORES)(
    'are held and go out when it opens: roots can be asked for in oninitialized (%s)',
    async (_, options) => {
      const listed = new Deferred<unknown>();
      harness = await startScripted({}, options(), (server) => {
        server.oninitialized = () => void server.listRoots().then(listed.resolve, listed.reject);
      });
      const session = await harness.session({ capabilities: { roots: {} } });
      const stream = await session.stream();
      const { id } = await soon('the request', stream.message());
      await session.answer(id, roots);
      expect(await listed.promise).toEqual(roots);
    },
  );

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

  test.each(MOMENTS)(
    'and that are cancelled %s: a client that finds them when it resumes finds that too',
    async (_when, wait) => {
      harness = await startScripted({}, { eventStore: memoryEventStore() });
      const session = await harness.session({ capabilities: { roots: {} } });
      const lastEventId = await harness.openAndLose(session);
      const giveUp = new AbortController();
      const asked = ask(giveUp.signal);
      await wait();
      giveUp.abort();
      await expect(asked).rejects.toThrow();
      await say('the fence');
      const stream = await session.stream(lastEventId);
      const request = await stream.message();
      expect(request).toMatchObject({ method: 'roots/list' });
      expect(await stream.message()).toMatchObject({
        method: 'notifications/cancelled',
        params: { requestId: request.id },
      });
      expect(await stream.message()).toEqual(said('the fence'));
    },
  );

  test('that were all cancelled leave the stream its priming event to resume from (spec 2025-11-25, basic/transports)', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session({ capabilities: { roots: {} } });
    const giveUp = new AbortController();
    const asked = ask(giveUp.signal);
    await setImmediate();
    giveUp.abort();
    await expect(asked).rejects.toThrow();
    await setImmediate();
    const first = await (await session.stream()).block();
    expect(first).toMatchObject({ data: '', id: expect.stringMatching(/./) as unknown });
  });

  test('reach a client that resumes once, not both as missed and as held events', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session({ capabilities: { roots: {} } });
    const lastEventId = await harness.openAndLose(session);
    const asked = ask();
    await setImmediate();
    const stream = await session.stream(lastEventId);
    const { id } = await stream.message();
    await say('the fence');
    expect(await stream.message()).toEqual(said('the fence'));
    await session.answer(id, roots);
    expect(await asked).toEqual(roots);
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
    const lastEventId = await harness.openAndLose(session);
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

  test.each(STORES)(
    'are not sent twice: a stream that opens later does not get them again (%s)',
    async (_, options) => {
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
    },
  );

  test('that come while a stream opens and breaks before it has begun are sent on the next stream', async () => {
    const gate = new Deferred();
    const storing = new Deferred();
    const eventStore = storeWith((inner) => ({
      storeEvent: async (streamId, message) => {
        storing.resolve();
        await gate.promise;
        return inner.storeEvent(streamId, message);
      },
    }));
    harness = await startScripted({}, { eventStore });
    const session = await harness.session({ capabilities: { roots: {} } });
    const hangUp = new AbortController();
    const gone = harness.socketsGone();
    const lost = session.get(undefined, hangUp.signal);
    // It waits for its priming event.
    await storing.promise;
    const asked = ask();
    hangUp.abort();
    await expect(lost).rejects.toThrow('abort');
    await until('the router knows', () => harness.socketsGone() > gone);
    gate.resolve();
    await harness.unattached(session);
    const stream = await session.stream();
    await session.answer((await soon('the request', stream.message())).id, roots);
    expect(await asked).toEqual(roots);
  });

  test('are sent with event IDs in order, so that a resume from each replays only later events', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session({ capabilities: { roots: {} } });
    const asked = [ask(), ask()];
    await setImmediate();
    const stream = await session.stream();
    // A priming event's ID would be newer than those of the events that follow, so there is none.
    const first = (await stream.block())!;
    expect(first.data).toContain('roots/list');
    const second = await stream.event();
    const resumed = await session.stream(first.id);
    expect(await resumed.event()).toEqual(second);
    await say('the fence');
    expect(await resumed.message()).toEqual(said('the fence'));
    const { id } = JSON.parse(first.data) as { id: number };
    for (const asked of [id, second.message.id]) await session.answer(asked, roots);
    expect(await Promise.all(asked)).toEqual([roots, roots]);
  });
});
