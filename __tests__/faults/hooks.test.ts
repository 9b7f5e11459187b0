import type { SessionEvents } from '../../src/index.js';
import { scriptedServer, startScripted, type Scripted } from '../support/scripted.js';
import { never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const INTERNAL = { jsonrpc: '2.0', id: 7, error: { code: -32603, message: 'Internal error' } };

/** What must be so when all sessions have ended. */
async function expectNothingLeft(): Promise<void> {
  expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  expect(harness.router.sessions.list()).toEqual([]);
  await until('no timer is left', () => harness.clock.pending === 0);
}

describe('the hooks of a server', () => {
  test('oninitialized may throw: the session goes on', async () => {
    harness = await startScripted(
      {},
      {},
      (server) => (server.oninitialized = () => fail(new Error('in oninitialized'))),
    );
    const session = await harness.session();
    expect(await session.call(1, 'ping')).toMatchObject({ result: {} });
  });

  test.each(['DELETE', 'expiry', 'shutdown'])(
    'onclose and onerror may throw: %s ends all that it should',
    async (how) => {
      harness = await startScripted({ hang: never, big: () => ({ n: 1n }) }, { ttl: 10_000 }, (server) => {
        server.onclose = () => fail(new Error('in onclose'));
        server.onerror = () => fail(new Error('in onerror'));
      });
      const reasons: string[] = [];
      harness.router.sessions.on('closed', (_session, reason) => reasons.push(reason));
      const [session, other] = [await harness.session(), await harness.session()];
      expect(await session.call(1, 'big')).toEqual({ ...INTERNAL, id: 1 });
      await harness.unattached(session);
      await harness.unattached(other);

      if (how === 'DELETE') for (const each of [session, other]) expect((await each.terminate()).status).toBe(200);
      else if (how === 'expiry') harness.clock.advance(10_000);
      else await harness.router.close();

      expect(reasons).toHaveLength(2);
      expect(harness.log.text).toContain('in onclose');
      await expectNothingLeft();
    },
  );

  test('close may never settle: the router waits 5 s for it, and the session has ended at once', async () => {
    const server = scriptedServer({});
    harness = await startScripted(
      {},
      { serverFactory: () => ({ connect: (transport) => server.connect(transport), close: never }) },
    );
    await harness.session();
    const closed = harness.router.close();
    expect(harness.router.sessions.list()).toEqual([]);
    harness.clock.advance(5_000);
    await soon('the router is closed', closed);
    await expectNothingLeft();
  });

  test.each(['throws', 'rejects'])('close may fail (it %s): that goes to the log', async (how) => {
    const server = scriptedServer({});
    const close = () => (how === 'throws' ? fail(new Error('in close')) : Promise.reject(new Error('in close')));
    harness = await startScripted(
      {},
      { serverFactory: () => ({ connect: (transport) => server.connect(transport), close }) },
    );
    const session = await harness.session();
    expect((await session.terminate()).status).toBe(200);
    await until('it is logged', () => harness.log.text.includes('in close'));
    await expectNothingLeft();
  });
});

describe('listeners of sessions events', () => {
  const EVENTS: (keyof SessionEvents)[] = ['opened', 'orphaned', 'closed'];
  const LISTENERS: [how: string, listener: () => unknown][] = [
    ['throws', () => fail(new Error('in a listener'))],
    ['rejects', () => Promise.reject(new Error('in a listener'))],
    ['never settles', never],
  ];

  test.each(LISTENERS)('one that %s disturbs neither the session nor other listeners', async (how, listener) => {
    harness = await startScripted({}, { ttl: 10_000, orphanAfter: 1_000 });
    const heard: string[] = [];
    for (const event of EVENTS) {
      harness.router.sessions.on(event, listener);
      harness.router.sessions.on(event, () => heard.push(event));
    }
    const session = await harness.session();
    expect(await session.call(1, 'ping')).toMatchObject({ result: {} });
    await harness.unattached(session);
    harness.clock.advance(10_000);
    expect(heard).toEqual(EVENTS);
    await expectNothingLeft();
    if (how === 'never settles') return;
    await until('all of them are logged', () =>
      EVENTS.every((event) => harness.log.text.includes(`a listener of ${event}`)),
    );
  });
});

function fail(error: unknown): never {
  throw error;
}
