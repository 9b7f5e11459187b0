import { storeWith } from '../support/event-stores.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

// Spec 2025-11-25, basic/utilities/cancellation: the receiver of `notifications/cancelled` should not answer. The SDK's
// server does not, so that everything which waits for its answer must be let go by the transport.

let harness: Scripted;
afterEach(() => harness.close());

const IDS = [0, '', 1, 'name', -7, '0', '__proto__'];

describe.each(REPLIES)('a cancelled request (%s)', (_, options) => {
  /** A method that runs until the test lets it go, and tells of its signal. */
  const scene = () => {
    const started = new Deferred<Extra>();
    const aborted = new Deferred();
    const release = new Deferred();
    const hang = async (_params: unknown, extra: Extra) => {
      extra.signal.addEventListener('abort', () => aborted.resolve());
      started.resolve(extra);
      await release.promise;
      return { from: 'the cancelled one' };
    };
    return { started, aborted, release, hang };
  };

  test.each(IDS)('has its reply ended and its signal aborted, for the ID %j', async (id) => {
    const { started, aborted, release, hang } = scene();
    harness = await startScripted({ hang }, options());
    const session = await harness.session();
    const reply = session.request(id, 'hang');
    await started.promise;

    await session.cancel(id);

    const answer = await soon('the reply has ended', reply.then(answerOf));
    // A JSON reply cannot be empty; an SSE stream ends without an answer, as the specification has it.
    expect(answer?.error).toEqual(
      'enableJsonResponse' in options() ? { code: -32000, message: 'Request cancelled' } : undefined,
    );
    await soon('the signal has aborted', aborted.promise);
    release.resolve();
  });

  test.each(IDS)(
    'frees the ID %j at once, and its late answer is never given to the next request with that ID',
    async (id) => {
      const { started, release, hang } = scene();
      const second = new Deferred<object>();
      harness = await startScripted({ hang, next: () => second.promise }, options());
      const session = await harness.session();
      const first = session.request(id, 'hang').then(answerOf);
      await started.promise;
      await session.cancel(id);

      const next = session.call(id, 'next');
      await until('the second request is there', () => harness.router.sessions.get(session.id)?.requests === 1);
      release.resolve();
      // A whole exchange later, whatever the cancelled handler had to say has been said.
      await session.call('fence', 'ping');
      second.resolve({ from: 'the next one' });

      expect(await soon('the second answer', next)).toEqual({ jsonrpc: '2.0', id, result: { from: 'the next one' } });
      await first;
    },
  );

  test('holds its session no longer: it is orphaned and expires, though the handler never returns', async () => {
    const { started, hang } = scene();
    harness = await startScripted({ hang }, { ttl: 10_000, orphanAfter: 1_000, ...options() });
    const session = await harness.session();
    const reply = session.request(1, 'hang').then(answerOf);
    await started.promise;
    harness.clock.advance(60_000);
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });

    await session.cancel(1);
    await reply;
    await harness.unattached(session);
    harness.clock.advance(1_000);
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 1, hibernated: 0 });
    harness.clock.advance(9_000);

    expect(harness.router.sessions.list()).toEqual([]);
    expect(harness.serversOpen()).toBe(0);
  });

  test('is no longer counted among the requests of its session', async () => {
    const { started, hang } = scene();
    harness = await startScripted({ hang }, options());
    const session = await harness.session();
    const reply = session.request(1, 'hang').then(answerOf);
    await started.promise;
    expect(harness.router.sessions.get(session.id)?.requests).toBe(1);
    await session.cancel(1);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
    await reply;
  });

  test('does not affect other requests, and a cancellation of a request that is not in flight does nothing', async () => {
    const release = new Deferred<object>();
    harness = await startScripted({ wait: () => release.promise, hang: never }, options());
    const session = await harness.session();
    const wait = session.call(1, 'wait');
    const hang = session.request(2, 'hang').then(answerOf);
    await until('both run', () => harness.router.sessions.get(session.id)?.requests === 2);
    // "1" is not 1, and nothing named 99 was asked.
    for (const id of ['1', 99, 2, 2]) await session.cancel(id);
    await hang;
    release.resolve({ done: true });
    expect(await wait).toMatchObject({ id: 1, result: { done: true } });
  });
});

describe('a request that is cancelled while its priming event is being stored', () => {
  test('never starts, its reply ends, and a second one with its ID runs once', async () => {
    const gate = new Deferred();
    const storing = new Deferred();
    const eventStore = storeWith((inner) => ({
      storeEvent: async (streamId, message) => {
        storing.resolve();
        await gate.promise;
        return inner.storeEvent(streamId, message);
      },
    }));
    const ran: unknown[] = [];
    harness = await startScripted({ work: (params) => (ran.push(params.name), { name: params.name }) }, { eventStore });
    const session = await harness.session();
    const first = session.request(1, 'work', { name: 'first' }).then(answerOf);
    await storing.promise;
    await session.cancel(1);
    const second = session.call(1, 'work', { name: 'second' });
    await until('the second is in flight', () => harness.router.sessions.get(session.id)?.requests === 1);
    gate.resolve();

    expect(await soon('the second answer', second)).toMatchObject({ id: 1, result: { name: 'second' } });
    expect(await soon('the first reply has ended', first)).toBeUndefined();
    expect(ran).toEqual(['second']);
  });
});
