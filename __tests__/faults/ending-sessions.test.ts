import type { CloseReason } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { answerOf, type RawSession } from '../support/raw-session.js';
import { REPLIES, startScripted, type Extra, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const CLOSED = { code: -32000, message: 'Session closed' };

/** Each way in which a session in use can end, and the reason of its closed event. */
const ENDS: [how: string, reason: CloseReason, end: (session: RawSession) => Promise<unknown>][] = [
  ['DELETE', 'deleted', (session) => session.terminate()],
  ['sessions.close()', 'deleted', (session) => harness.router.sessions.close(session.id)],
  ['close() of its server', 'deleted', () => harness.servers[0]!.close()],
  ['close() of the router', 'shutdown', () => harness.router.close()],
  ['a drain that ran out of time', 'shutdown', () => harness.router.drain(1)],
];

describe.each(REPLIES)('the end of a session during a call (%s)', (_, options) => {
  const startHanging = async () => {
    const started = new Deferred<Extra>();
    const hang = (_params: unknown, extra: Extra) => {
      started.resolve(extra);
      return never();
    };
    harness = await startScripted({ hang }, options());
    const reasons: CloseReason[] = [];
    harness.router.sessions.on('closed', (_info, reason) => reasons.push(reason));
    const session = await harness.session();
    const reply = session.request(1, 'hang').then(answerOf);
    return { session, reply, extra: await started.promise, reasons };
  };

  test.each(ENDS)('ends the reply and aborts the signal of the handler: %s', async (_how, reason, end) => {
    const { session, reply, extra, reasons } = await startHanging();
    const ended = end(session);
    harness.clock.advance(1);

    expect(await soon('the reply has ended', reply)).toEqual({ jsonrpc: '2.0', id: 1, error: CLOSED });
    await soon('the session has ended', ended);
    expect(extra.signal.aborted).toBe(true);
    expect(reasons).toEqual([reason]);
    expect(harness.serversOpen()).toBe(0);
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    expect(harness.clock.pending).toBe(0);
  });

  test('reaches the client before close() resolves, as an app may then close every socket', async () => {
    const { reply } = await startHanging();
    await harness.router.close();
    harness.http.closeAllConnections();
    expect(await soon('the reply has ended', reply)).toEqual({ jsonrpc: '2.0', id: 1, error: CLOSED });
  });

  test('ends an SSE reply that has begun: with an error for each request, then the end of the stream', async () => {
    const talk = async (_params: unknown, extra: Extra) => {
      await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
      return never();
    };
    harness = await startScripted({ talk }, options());
    const session = await harness.session();
    const stream = new EventStream(await session.request('a', 'talk'));
    expect(await stream.message()).toMatchObject({ params: { data: 'begun' } });
    await session.terminate();
    expect(await soon('the stream has ended', stream.messages())).toEqual([{ jsonrpc: '2.0', id: 'a', error: CLOSED }]);
  });

  test('ends its standalone stream, and is final: whatever comes next gets 404', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const stream = await session.stream();
    expect((await session.terminate()).status).toBe(200);
    await soon('the stream has ended', stream.blocks());
    const answers = [await session.request(1, 'ping'), await session.get(), await session.terminate()];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
  });
});

describe.each(REPLIES)('maxLifetime (%s)', (_, options) => {
  const ask: Method = async (_params, extra, server) => {
    const { action } = await server.elicitInput(
      { message: 'Go on?', requestedSchema: { type: 'object', properties: {} } },
      { relatedRequestId: extra.requestId },
    );
    return { action };
  };

  test('lets a running call finish, its elicitation answered by POST; then the session ends, as `lifetime`', async () => {
    harness = await startScripted({ ask }, { maxLifetime: 60_000, ...options() });
    const reasons: CloseReason[] = [];
    harness.router.sessions.on('closed', (_info, reason) => reasons.push(reason));
    const session = await harness.session({ capabilities: { elicitation: {} } });
    const stream = new EventStream(await session.request(1, 'ask'));
    const { id } = await stream.message();

    harness.clock.advance(60_000);
    expect((await session.request(2, 'ping')).status).toBe(404);
    expect((await session.get()).status).toBe(404);
    expect(reasons).toEqual([]);
    await session.answer(id, { action: 'accept', content: {} });

    expect(await soon('the call has finished', stream.messages())).toEqual([
      { jsonrpc: '2.0', id: 1, result: { action: 'accept' } },
    ]);
    await until('the session has ended', () => reasons.length > 0);
    expect(reasons).toEqual(['lifetime']);
    expect(harness.serversOpen()).toBe(0);
  });
});

describe('the end of a session while a client resumes one of its streams', () => {
  // With a store that answers late, the session can end between the question and the answer.
  const lateStore = () => {
    const asked = new Deferred();
    const gate = new Deferred();
    const eventStore = storeWith((inner) => ({
      replayEventsAfter: async (lastEventId, to) => {
        asked.resolve();
        await gate.promise;
        return inner.replayEventsAfter(lastEventId, to);
      },
    }));
    return { asked, gate, eventStore };
  };

  test('leaves no reply open that was to be a standalone stream', async () => {
    const { asked, gate, eventStore } = lateStore();
    harness = await startScripted({}, { eventStore });
    const session = await harness.session();
    const { id } = (await (await session.stream()).block())!;
    const resumed = session.get(id);
    await asked.promise;
    await session.terminate();
    gate.resolve();
    await soon(
      'the reply has ended',
      resumed.then((response) => response.text()),
    );
    await harness.router.close();
    expect(harness.clock.pending).toBe(0);
  });

  test('leaves no reply open that was to be the stream of a request', async () => {
    const { asked, gate, eventStore } = lateStore();
    harness = await startScripted({ hang: never }, { eventStore });
    const session = await harness.session();
    const { id } = (await new EventStream(await session.request(1, 'hang')).block())!;
    const resumed = session.get(id);
    await asked.promise;
    await session.terminate();
    gate.resolve();
    await soon(
      'the reply has ended',
      resumed.then((response) => response.text()),
    );
    expect(harness.clock.pending).toBe(0);
  });

  test.each(['is cancelled', 'is answered'])('leaves none open when the request %s meanwhile', async (how) => {
    const { asked, gate, eventStore } = lateStore();
    const release = new Deferred<object>();
    harness = await startScripted({ work: () => release.promise }, { eventStore });
    const session = await harness.session();
    const { id } = (await new EventStream(await session.request(1, 'work')).block())!;
    const resumed = session.stream(id);
    await asked.promise;
    if (how === 'is cancelled') await session.cancel(1);
    else release.resolve({ done: true });
    gate.resolve();
    const messages = await soon(
      'the reply has ended',
      resumed.then((stream) => stream.messages()),
    );
    expect(messages).toEqual(how === 'is cancelled' ? [] : [{ jsonrpc: '2.0', id: 1, result: { done: true } }]);
  });
});
