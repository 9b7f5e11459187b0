import { answerOf } from '../support/raw-session.js';
import { expectRow } from '../support/rows.js';
import { REPLIES, startScripted, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

describe.each(REPLIES)('maxRequestsPerSession (%s)', (_, options) => {
  test('bounds the requests in flight of one session, and a settled or cancelled request makes room', async () => {
    const release = new Deferred<object>();
    let running = 0;
    const hang = () => {
      running += 1;
      return release.promise;
    };
    harness = await startScripted({ hang }, { maxRequestsPerSession: 3, ...options() });
    const [session, other] = [await harness.session(), await harness.session()];
    const calls = [1, 2, 3].map((id) => session.request(id, 'hang').then(answerOf));
    await until('all run', () => running === 3);

    const refused = await session.request(4, 'hang');
    expect(refused.headers.get('retry-after')).toBe('5');
    expectRow({ status: refused.status, body: await refused.text() }, 'tooManyRequests');
    // A notification is accepted, and another session has a limit of its own.
    await session.cancel(1);
    expect(await other.call(1, 'ping')).toMatchObject({ result: {} });
    expect(await soon('there is room again', session.call(5, 'ping'))).toMatchObject({ id: 5, result: {} });

    release.resolve({});
    await Promise.all(calls);
    expect(running).toBe(3);
  });

  test('counts each request of a batch, and takes no request of a batch that is too large', async () => {
    harness = await startScripted({}, { maxRequestsPerSession: 3, ...options() });
    const session = await harness.session({ version: '2025-03-26' });
    const pings = (count: number) => Array.from({ length: count }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' }));
    const refused = await session.post(pings(4));
    expectRow({ status: refused.status, body: await refused.text() }, 'tooManyRequests');
    expect((await session.post(pings(3))).status).toBe(200);
  });
});

describe('the params of requests in flight (docs/http.md, `bodiesAtCapacity`)', () => {
  /** The router counts 64 bytes for each value; `{}` takes three in JSON. */
  const params = (mebibytes: number) => ({ values: Array<object>(mebibytes * 16_384).fill({}) });

  test('share a memory limit, and a settled request makes room', async () => {
    const release = new Deferred<object>();
    let running = 0;
    const hang = () => {
      running += 1;
      return release.promise;
    };
    harness = await startScripted({ hang }, { maxBodyMemory: 4 * 1024 * 1024 });
    const [session, other] = [await harness.session(), await harness.session()];
    const call = session.call(1, 'hang', params(12));
    await until('it runs', () => running === 1);

    const refused = await other.request(1, 'hang', params(8));
    expectRow({ status: refused.status, body: await refused.text() }, 'bodiesAtCapacity');
    expect(await other.call(2, 'ping')).toMatchObject({ result: {} });

    release.resolve({});
    await call;
    expect(await other.call(3, 'hang', params(8))).toMatchObject({ id: 3, result: {} });
    expect(running).toBe(2);
  });

  test('may exceed the limit where no other request is in flight', async () => {
    harness = await startScripted({ work: () => ({}) }, { maxBodyMemory: 4 * 1024 * 1024 });
    const session = await harness.session();
    expect(await session.call(1, 'work', params(20))).toMatchObject({ id: 1, result: {} });
  });
});
