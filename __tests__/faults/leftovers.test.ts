import { REPLIES, startScripted, type Scripted } from '../support/scripted.js';
import { until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

// The SDK's transport (1.32.2), in JSON mode, keeps an entry for every request for ever.
describe.each(REPLIES)('many calls in one session (%s)', (name, options) => {
  const calls = name === 'JSON' ? 1_000 : 200;

  test('leave nothing behind: no request, no timer, and the session can expire', async () => {
    harness = await startScripted({ work: () => ({}) }, options());
    const session = await harness.session();
    await harness.unattached(session);
    const timers = harness.clock.pending;
    for (let batch = 0; batch < calls / 10; batch += 1) {
      // The same ten IDs each time: each must be free again.
      const answers = await Promise.all(Array.from({ length: 10 }, (__, id) => session.call(id, 'work')));
      expect(answers.every((answer) => 'result' in answer)).toBe(true);
    }

    expect(harness.router.sessions.list()).toMatchObject([{ id: session.id, requests: 0 }]);
    await harness.unattached(session);
    expect(harness.clock.pending).toBe(timers);
    harness.clock.advance(30 * 60_000);
    expect(harness.router.sessions.list()).toEqual([]);
    await until('no timer is left', () => harness.clock.pending === 0);
    expect(harness.serversOpen()).toBe(0);
  });
});

test('200 stateless calls leave no server and no timer behind', async () => {
  harness = await startScripted({ work: () => ({}) }, { stateless: true });
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'work' });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  for (let batch = 0; batch < 20; batch += 1) {
    const replies = Array.from({ length: 10 }, () => fetch(harness.url, { method: 'POST', headers, body }));
    for (const reply of await Promise.all(replies)) expect(await reply.text()).toContain('"result":{}');
  }
  expect(harness.servers).toHaveLength(200);
  await until('every server is closed', () => harness.serversOpen() === 0);
  expect(harness.clock.pending).toBe(0);
});
