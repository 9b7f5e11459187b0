import { initializeBody, post } from '../support/harness.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, startScripted, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const IN_FLIGHT = {
  code: -32600,
  message: 'Invalid Request: a request with this ID is in flight already in this session',
};

// JSON-RPC 2.0, 4: the ID is what relates an answer to its request. MCP 2025-11-25, basic, "Requests": an ID must not have
// been used before by the requestor within the same session.
describe.each(REPLIES)('a second request with an ID that is in flight (%s)', (_, options) => {
  test.each([0, '', 5, 'name'])(
    'is refused with 400 and -32600, and the first with the ID %j still gets its answer',
    async (id) => {
      const release = new Deferred<object>();
      let runs = 0;
      const work = () => ((runs += 1), release.promise);
      harness = await startScripted({ work }, options());
      const session = await harness.session();
      const first = session.call(id, 'work');
      await until('the first runs', () => runs === 1);

      const second = await session.request(id, 'work');

      expect(second.status).toBe(400);
      expect(await second.json()).toEqual({ jsonrpc: '2.0', id, error: IN_FLIGHT });
      release.resolve({ done: true });
      expect(await soon('the first answer', first)).toEqual({ jsonrpc: '2.0', id, result: { done: true } });
      expect(runs).toBe(1);
    },
  );

  test('is another one when the ID is a string and not a number', async () => {
    const release = new Deferred<object>();
    harness = await startScripted({ work: () => release.promise }, options());
    const session = await harness.session();
    const first = session.call(5, 'work');
    const second = session.call('5', 'work');
    await until('both run', () => harness.router.sessions.get(session.id)?.requests === 2);
    release.resolve({});
    expect([(await first).id, (await second).id]).toEqual([5, '5']);
  });

  test('is refused inside one batch too, and nothing of the batch is done', async () => {
    let done = 0;
    harness = await startScripted({ work: () => ({ done: (done += 1) }) }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const work = (id: number) => ({ jsonrpc: '2.0', id, method: 'work' });
    const refused = await session.post([work(1), work(2), work(1)]);
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ error: IN_FLIGHT });
    expect(done).toBe(0);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
    expect(await session.call(1, 'work')).toEqual({ jsonrpc: '2.0', id: 1, result: { done: 1 } });
  });

  test('is refused when only one of a batch is in flight, and the rest of the batch can be sent again', async () => {
    const release = new Deferred<object>();
    harness = await startScripted({ wait: () => release.promise, work: () => ({}) }, options());
    const session = await harness.session({ version: '2025-03-26' });
    const first = session.call(1, 'wait');
    await until('the first runs', () => harness.router.sessions.get(session.id)?.requests === 1);
    const batch = [2, 1].map((id) => ({ jsonrpc: '2.0', id, method: 'work' }));
    expect((await session.post(batch)).status).toBe(400);
    expect(await session.call(2, 'work')).toMatchObject({ id: 2, result: {} });
    release.resolve({ done: true });
    expect(await first).toMatchObject({ id: 1, result: { done: true } });
  });
});

describe.each(REPLIES)('initialize (%s)', (_, options) => {
  test.each([0, '', 7, -1, 'a string', '0', '__proto__', Number.MAX_SAFE_INTEGER])(
    'is answered with its own ID %j (JSON-RPC 2.0, 5: same value and type)',
    async (id) => {
      harness = await startScripted({}, options());
      const response = await post(harness.url, initializeBody(id));
      expect(response.status).toBe(200);
      expect(await answerOf(response)).toMatchObject({ id, result: { protocolVersion: '2025-11-25' } });
      // It is settled: the ID is free for the next request.
      const session = { 'mcp-session-id': response.headers.get('mcp-session-id')! };
      const ping = await post(harness.url, { jsonrpc: '2.0', id, method: 'ping' }, session);
      expect(await answerOf(ping)).toEqual({ jsonrpc: '2.0', id, result: {} });
    },
  );
});
