import { startScripted, type Scripted } from '../support/scripted.js';
import { soon, until } from '../support/waiting.js';

// A client that is half open looks like one that listens. Pings are the specification's own means to tell (2025-11-25,
// basic/utilities/ping: "Implementations SHOULD periodically issue pings to detect connection health").

let harness: Scripted;
afterEach(() => harness.close());

const startPinging = async () => {
  harness = await startScripted({}, { pingInterval: 10_000, keepAlive: 1_000_000, ttl: 2_000_000 });
  const session = await harness.session();
  return { session, stream: await session.stream() };
};

test('a standalone stream is pinged after pingInterval, and again after each answer', async () => {
  const { session, stream } = await startPinging();
  const ids = new Set<string | number>();
  for (let round = 0; round < 3; round += 1) {
    harness.clock.advance(10_000);
    const ping = await soon('a ping', stream.message());
    expect(ping).toEqual({ jsonrpc: '2.0', id: expect.any(String), method: 'ping' });
    ids.add(ping.id);
    await session.answer(ping.id, {});
  }
  expect(ids.size).toBe(3);
  // The answers were ours: the server, which did not ask, was not bothered with them.
  expect(harness.log.all).toEqual([]);
  harness.clock.advance(9_999);
  expect((await session.getBeside(stream)).status).toBe(409);
});

test('a ping without an answer for pingInterval ends the stream, and the session counts as having lost it', async () => {
  const { session, stream } = await startPinging();
  harness.clock.advance(10_000);
  await stream.message();
  harness.clock.advance(10_000);
  await expect(soon('the stream is broken off', stream.block())).rejects.toThrow('terminated');
  await harness.unattached(session);
  harness.clock.advance(60_000);
  expect(harness.router.sessions.get(session.id)).toMatchObject({ state: 'orphaned', orphanCause: 'stream_lost' });
});

test('an answer to another request does not count, nor does an answer in another session', async () => {
  const { session, stream } = await startPinging();
  const other = await harness.session();
  harness.clock.advance(10_000);
  const { id } = await stream.message();
  await session.answer('another', {});
  await session.answer(0, {});
  await other.answer(id, {});
  harness.clock.advance(10_000);
  await expect(soon('the stream is broken off', stream.block())).rejects.toThrow('terminated');
});

test('an error is an answer too', async () => {
  const { session, stream } = await startPinging();
  harness.clock.advance(10_000);
  const { id } = await stream.message();
  await session.post({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } });
  harness.clock.advance(10_000);
  expect(await soon('the next ping', stream.message())).toMatchObject({ method: 'ping' });
});

test('an SDK client answers by itself, and keeps its stream', async () => {
  harness = await startScripted({}, { pingInterval: 10_000, keepAlive: 1_000_000, ttl: 2_000_000 });
  let posts = 0;
  let streams = 0;
  harness.http.on('request', (req, res) => {
    if (req.method === 'POST') res.once('close', () => (posts += 1));
    if (req.method === 'GET') void until('the head is sent', () => res.headersSent).then(() => (streams += 1));
  });
  await harness.client();
  await until('its stream is open', () => streams === 1 && posts === 2);
  for (let round = 1; round <= 3; round += 1) {
    harness.clock.advance(10_000);
    await until('it has answered', () => posts === 2 + round);
  }
  expect(streams).toBe(1);
});

test('pings stop with the stream, which leaves no timer', async () => {
  harness = await startScripted({}, { pingInterval: 10_000 });
  const session = await harness.session();
  await harness.unattached(session);
  const timers = harness.clock.pending;
  const hangUp = new AbortController();
  await session.stream(undefined, hangUp.signal);
  hangUp.abort();
  await harness.unattached(session);
  expect(harness.clock.pending).toBe(timers);
});

test('without pingInterval no ping is sent', async () => {
  harness = await startScripted({}, { keepAlive: 1_000_000, ttl: 2_000_000 });
  const session = await harness.session();
  const stream = await session.stream();
  harness.clock.advance(900_000);
  await session.terminate();
  expect(await stream.messages()).toEqual([]);
});
