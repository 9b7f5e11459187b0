import { EventStream } from '../support/event-stream.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const TIMED_OUT = { jsonrpc: '2.0', id: 1, error: { code: -32001, message: 'Request timed out' } };

describe.each(REPLIES)('a handler that never settles (%s)', (_, options) => {
  const startHanging = async () => {
    const started = new Deferred<Extra>();
    const hang = (_params: unknown, extra: Extra) => {
      started.resolve(extra);
      return never();
    };
    harness = await startScripted({ hang }, { requestTimeout: 5_000, ttl: 10_000, orphanAfter: 1_000, ...options() });
    const session = await harness.session();
    const reply = session.request(1, 'hang').then(answerOf);
    return { session, reply, extra: await started.promise };
  };

  test('is answered with an error after requestTimeout, and not before; its signal aborts', async () => {
    const { session, reply, extra } = await startHanging();
    harness.clock.advance(4_999);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(1);
    expect(extra.signal.aborted).toBe(false);

    harness.clock.advance(1);

    expect(await soon('the reply has ended', reply)).toEqual(TIMED_OUT);
    await until('the signal has aborted', () => extra.signal.aborted);
    expect(extra.signal.reason).toBe('Request timed out');
  });

  test('frees its ID and its lease: the ID can be used again, and the session expires', async () => {
    const { session, reply } = await startHanging();
    harness.clock.advance(5_000);
    await soon('the reply has ended', reply);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
    expect(await session.call(1, 'ping')).toEqual({ jsonrpc: '2.0', id: 1, result: {} });

    await harness.unattached(session);
    harness.clock.advance(10_000);
    expect(harness.router.sessions.list()).toEqual([]);
    expect(harness.serversOpen()).toBe(0);
  });
});

describe.each(REPLIES)('a handler that takes longer than requestTimeout (%s)', (_, options) => {
  test('is not timed out as long as it reports progress, and is once it does not', async () => {
    const steps = [new Deferred(), new Deferred()];
    const work = async (_params: unknown, extra: Extra) => {
      for (const [progress, step] of steps.entries()) {
        await step.promise;
        await extra.sendNotification({
          method: 'notifications/progress',
          params: { progressToken: extra._meta!.progressToken!, progress },
        });
      }
      return never();
    };
    harness = await startScripted({ work }, { requestTimeout: 5_000, ...options() });
    const session = await harness.session();
    const response = session.request(1, 'work', { _meta: { progressToken: 'mine' } });
    await until('it runs', () => harness.router.sessions.get(session.id)?.requests === 1);

    harness.clock.advance(4_000);
    steps[0]!.resolve();
    const stream = new EventStream(await response);
    expect(await stream.message()).toMatchObject({ params: { progressToken: 'mine', progress: 0 } });
    harness.clock.advance(4_000);
    steps[1]!.resolve();
    expect(await stream.message()).toMatchObject({ params: { progressToken: 'mine', progress: 1 } });
    harness.clock.advance(4_999);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(1);
    harness.clock.advance(1);

    expect(await soon('the stream has ended', stream.messages())).toEqual([TIMED_OUT]);
  });
});

describe('many handlers that never settle', () => {
  test('are each timed out at their own time, with one timer for them all', async () => {
    harness = await startScripted({ hang: never }, { requestTimeout: 5_000, enableJsonResponse: true });
    const session = await harness.session();
    const replies: Promise<unknown>[] = [];
    const running = () => harness.router.sessions.get(session.id)?.requests;
    for (let id = 1; id <= 5; id += 1) {
      replies.push(session.call(id, 'hang'));
      await until('it runs', () => running() === id);
      harness.clock.advance(1_000);
    }
    // The first is due, so the next may take over the timer.
    const timers = harness.clock.pending;
    expect(running()).toBe(4);
    harness.clock.advance(2_000);
    expect(running()).toBe(2);
    expect(harness.clock.pending).toBe(timers);
    harness.clock.advance(2_000);
    expect(running()).toBe(0);
    for (const answer of await Promise.all(replies)) expect(answer).toMatchObject({ error: TIMED_OUT.error });
  });
});
