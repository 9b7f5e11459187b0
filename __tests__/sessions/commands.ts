import { setImmediate as endOfTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { until } from '../support/waiting.js';
import type { Model } from './model.js';
import type { ModelCall, ModelRecord, ModelSession } from './model-parts.js';
import type { World } from './world.js';

type Command = fc.AsyncCommand<Model, World>;

/** Between any two commands, so that no two sessions become unattached at the same moment. */
export const TICK = 10;
/** Times in the settings and here end in digits that keep deadlines of different kinds apart; that of commands is 0. */
export const DRAIN_TIMEOUT = 309;

const USERS = ['alice', 'alice', 'bob', undefined] as const;
const STRANGER = 'mallory';
const METHODS = ['POST', 'GET', 'DELETE'] as const;

/** Waits until each exchange and server that has ended in the model has ended in the router. */
export async function settled(model: Model, world: World): Promise<void> {
  for (const number of model.takeEnded()) await world.exchanges[number]!.over();
  if (model.over) await world.stopped;
  const asleep = model.inState('hibernated').length;
  await until('every due session hibernates', () => world.router.sessions.stats().hibernated === asleep);
  const servers = model.inState('active', 'orphaned').length;
  await until('the servers of the others are closed', () => world.servers.size <= servers);
}

/** Advances the clock of both, and stops at each deadline of the model. */
export async function advance(model: Model, world: World, ms: number): Promise<void> {
  const end = model.now + ms;
  for (let next = model.nextDeadline(end); next !== undefined; next = model.nextDeadline(end)) {
    world.clock.advance(next - model.now);
    model.moveTo(next);
    await settled(model, world);
  }
  world.clock.advance(end - model.now);
  model.moveTo(end);
}

/** The router shows the state of the model, to the app and to Prometheus. */
export async function agree(model: Model, world: World): Promise<void> {
  const { sessions } = world.router;
  expect(sessions.stats()).toEqual(model.stats());
  expect(sessions.list()).toMatchObject(model.list());
  expect(await world.metrics()).toEqual(model.metrics());
  expect(world.servers.size).toBe(model.inState('active', 'orphaned').length);
}

function command(
  name: string,
  check: (model: Model) => boolean,
  act: (model: Model, world: World) => Promise<void>,
): Command {
  return {
    check,
    toString: () => name,
    run: async (model, world) => {
      await act(model, world);
      await settled(model, world);
      await agree(model, world);
      await advance(model, world, TICK);
    },
  };
}

const pick = <T>(from: readonly T[], n: number): T => from[n % from.length]!;
const nth = fc.nat(1000);
const open = (model: Model): ModelSession[] => model.inState('active', 'orphaned');
const as = (user: string | undefined) => (user === undefined ? {} : { 'x-user': user });

/** A command on one item of a list, which is never run while the list is empty. */
function onOne<T>(
  name: string,
  among: (model: Model) => readonly T[],
  act: (item: T, model: Model, world: World) => Promise<void>,
): fc.Arbitrary<Command> {
  return nth.map((n) =>
    command(
      `${name}(${n})`,
      (model) => among(model).length > 0,
      (model, world) => act(pick(among(model), n), model, world),
    ),
  );
}

const calls = (model: Model): ModelCall[] => model.calls();
const storedOnly = (model: Model): ModelRecord[] => model.storedOnly();

const openings = fc.tuple(fc.constantFrom(...USERS), fc.constantFrom(false, false, true)).map(([user, slow]) =>
  command(
    `${slow ? 'openSlowly' : 'open'}(${user})`,
    () => true,
    async (model, world) => {
      const id = `session-${world.exchanges.length}`;
      const gate = world.holdFactory(id);
      const exchange = world.initialize(id, as(user));
      const admitted = model.admit(id, user, exchange.number);
      if (typeof admitted === 'string') {
        const { status, headers } = await exchange.reply();
        expect([status, headers['retry-after']]).toEqual([503, '5']);
        return;
      }
      await gate.reached.promise;
      if (slow) return;
      gate.resolve();
      expect((await exchange.reply()).status).toBe(200);
      model.activate(admitted);
    },
  ),
);

const initializing = (model: Model): ModelSession[] => model.inState('initializing');

const finishOpening = onOne('finishOpening', initializing, async (session, model, world) => {
  world.gates.get(session.id)!.resolve();
  const { status, headers } = await world.exchanges[session.opening]!.reply();
  expect([status, headers['mcp-session-id']]).toEqual([200, session.id]);
  model.activate(session);
});

const throwInFactory = onOne('throwInFactory', initializing, async (session, model, world) => {
  world.gates.get(session.id)!.reject(new Error('the factory failed'));
  expect((await world.exchanges[session.opening]!.reply()).status).toBe(500);
  model.fail(session, 'internalError');
});

const hangUpOpening = onOne('hangUpOpening', initializing, async (session, model, world) => {
  await world.exchanges[session.opening]!.hangUp();
  await until('the opening is given up', () => world.router.sessions.get(session.id) === undefined);
  model.fail(session);
});

const settleAbandoned = onOne(
  'settleAbandoned',
  ({ abandoned }) => abandoned,
  async (build, model, world) => {
    model.abandoned.splice(model.abandoned.indexOf(build), 1);
    world.gates.get(build.id)!.reject(new Error('the factory failed, after its session was given up'));
    await endOfTurn();
  },
);

const ping = onOne('ping', open, async (session, model, world) => {
  const { status } = await world.ping(session.id, as(session.user)).reply();
  expect(status).toBe(session.retiring ? 404 : 200);
  model.touch(session);
});

const call = onOne('call', open, async (session, model, world) => {
  const key = `call-${world.exchanges.length}`;
  if (session.retiring) {
    expect((await world.call(session.id, key, as(session.user)).reply()).status).toBe(404);
    model.touch(session);
    return;
  }
  const exchange = await world.wait(session.id, key, as(session.user));
  model.call(session, key, exchange.number);
});

const finishCall = onOne('finishCall', calls, async (call, model, world) => {
  const { key, session, exchange, connected } = call;
  const { requests } = world.router.sessions.get(session.id)!;
  (await world.handler(key)).finish();
  if (connected) expect((await world.exchanges[exchange]!.reply()).text).toContain(key);
  else await until('the call is settled', () => world.router.sessions.get(session.id)?.requests !== requests);
  model.settle(call, 'ok');
});

const cancelCall = onOne('cancelCall', calls, async (call, model, world) => {
  const { key, session } = call;
  const { status } = await world
    .notify(session.id, 'notifications/cancelled', { requestId: key }, as(session.user))
    .reply();
  expect(status).toBe(202);
  expect((await world.handler(key)).signal.aborted).toBe(true);
  model.settle(call, 'cancelled');
});

const hangUpCall = onOne(
  'hangUpCall',
  (model) => model.calls().filter(({ connected }) => connected),
  async (call, model, world) => {
    await world.exchanges[call.exchange]!.hangUp();
    model.hangUpCall(call);
  },
);

const stream = onOne('stream', open, async (session, model, world) => {
  const exchange = world.send('GET', { 'mcp-session-id': session.id, ...as(session.user) });
  const refused = session.retiring ? 404 : model.draining ? 503 : session.stream !== undefined ? 409 : undefined;
  if (refused === 409) {
    const id = await world.exchanges[session.stream!]!.ping();
    const headers = { 'mcp-session-id': session.id, ...as(session.user) };
    await world.send('POST', headers, { jsonrpc: '2.0', id, result: {} }).reply();
  }
  expect(await exchange.status()).toBe(refused ?? 200);
  if (refused === undefined) return model.stream(session, exchange.number);
  await exchange.over();
  model.touch(session);
});

const hangUpStream = onOne(
  'hangUpStream',
  (model) => open(model).filter(({ stream }) => stream !== undefined),
  async (session, model, world) => {
    await world.exchanges[session.stream!]!.hangUp();
    model.hangUpStream(session);
  },
);

const terminate = onOne('terminate', open, async (session, model, world) => {
  const exchange = world.send('DELETE', { 'mcp-session-id': session.id, ...as(session.user) });
  expect((await exchange.reply()).status).toBe(200);
  model.close(session, 'deleted');
});

const closeByApp = onOne(
  'closeByApp',
  ({ sessions }) => sessions,
  async (session, model, world) => {
    expect(await world.router.sessions.close(session.id)).toBe(true);
    model.close(session, 'deleted');
  },
);

const closeByServer = onOne('closeByServer', open, async (session, model, world) => {
  await world.serverOf.get(session.id)!.close();
  model.close(session, 'deleted');
});

const closeByPrincipal = fc.constantFrom('alice', 'bob').map((user) => {
  const own = (model: Model) => model.sessions.filter((session) => session.user === user);
  return command(
    `closeByPrincipal(${user})`,
    (model) => own(model).length > 0,
    async (model, world) => {
      const sessions = own(model);
      expect(await world.router.sessions.closeByPrincipal(user)).toBe(sessions.length);
      model.closeTogether(sessions, 'deleted');
    },
  );
});

/** Another principal's session is treated like a missing one in every state, and the request does not keep it alive. */
const trespass = fc.constantFrom(...METHODS).chain((method) =>
  onOne(
    `trespass ${method}`,
    ({ sessions }) => sessions,
    async ({ id }, { draining, settings }, world) => {
      const body = method === 'POST' ? { jsonrpc: '2.0', id: 1, method: 'ping' } : undefined;
      const exchange = world.send(method, { 'mcp-session-id': id, ...as(STRANGER) }, body);
      // While the router drains, it does not look a session up in the store.
      const notLookedUp = draining && settings.stored && method !== 'DELETE';
      expect((await exchange.reply()).status).toBe(notLookedUp ? 503 : 404);
    },
  ),
);

const asleep = (model: Model): ModelSession[] => model.inState('hibernated');

const wake = onOne('wake', asleep, async (session, model, world) => {
  const { status } = await world.ping(session.id, as(session.user)).reply();
  expect(status).toBe(model.draining ? 503 : 200);
  if (model.draining) return model.touchAsleep(session);
  model.wake(session);
  model.touch(session);
});

const terminateAsleep = onOne('terminateAsleep', asleep, async (session, model, world) => {
  const exchange = world.send('DELETE', { 'mcp-session-id': session.id, ...as(session.user) });
  expect((await exchange.reply()).status).toBe(200);
  model.close(session, 'deleted');
});

/** Nothing restores a session that has ended, in this process or another. */
const pingGone = onOne(
  'pingGone',
  ({ gone }) => gone,
  async ({ id, user }, model, world) => {
    const { status } = await world.ping(id, as(user)).reply();
    expect(status).toBe(model.draining && model.settings.stored ? 503 : 404);
  },
);

const crash = command(
  'crash',
  ({ draining, settings }) => !draining && settings.stored,
  async (model, world) => {
    world.crash();
    model.crash();
  },
);

/** The router may answer 404 for a record that is about to expire. */
const restore = onOne('restore', storedOnly, async (record, model, world) => {
  const { status } = await world.ping(record.id, as(record.user)).reply();
  const kept = model.draining ? true : model.isKept(record);
  if (kept === undefined) expect([200, 404, 503]).toContain(status);
  if (kept === false || (kept === undefined && status === 404)) {
    expect(status).toBe(404);
    model.records.delete(record.id);
    return;
  }
  if (model.draining) return expect(status).toBe(503);
  const restored = model.restore(record);
  if (typeof restored === 'string') return expect(status).toBe(503);
  expect(status).toBe(200);
  record.doubtful = false;
  model.touch(restored);
});

const terminateStored = onOne('terminateStored', storedOnly, async (record, model, world) => {
  const { status } = await world.send('DELETE', { 'mcp-session-id': record.id, ...as(record.user) }).reply();
  const kept = model.isKept(record);
  if (kept === undefined) expect([200, 404]).toContain(status);
  else expect(status).toBe(kept ? 200 : 404);
  model.records.delete(record.id);
});

const trespassStored = onOne('trespassStored', storedOnly, async (record, model, world) => {
  const built = world.contexts.length;
  const { status } = await world.ping(record.id, as(STRANGER)).reply();
  expect(status).toBe(model.draining ? 503 : 404);
  expect(world.contexts).toHaveLength(built);
  if (model.isKept(record) === false) model.records.delete(record.id);
});

const failToRestore = onOne('failToRestore', storedOnly, async (record, model, world) => {
  if (model.draining || model.isKept(record) !== true) return;
  world.factory = () => Promise.reject(new Error('no database'));
  const { status, headers } = await world.ping(record.id, as(record.user)).reply();
  world.factory = (context) => world.build(context);
  expect([status, headers['retry-after']]).toEqual([503, '5']);
  const admitted = model.restore(record);
  if (typeof admitted !== 'string') model.unrestore(admitted);
});

/** While the store fails: 503 for each request that needs it, and no change. */
const withoutStore = fc.constantFrom('open', 'restore', 'terminate', 'terminateStored').chain((what) =>
  nth.map((n) =>
    command(
      `${what} without the store (${n})`,
      (model) => model.settings.stored && !model.draining,
      async (model, world) => {
        const here = open(model).filter(({ retiring }) => !retiring);
        const away = model.storedOnly();
        world.store.trouble = 'fails';
        try {
          if (what === 'open') {
            const id = `session-${world.exchanges.length}`;
            const exchange = world.initialize(id);
            const admitted = model.admit(id, undefined, exchange.number);
            expect((await exchange.reply()).status).toBe(503);
            if (typeof admitted !== 'string') model.fail(admitted, 'storeUnavailable');
          } else if (what === 'restore' && away.length > 0) {
            const record = pick(away, n);
            expect((await world.ping(record.id, as(record.user)).reply()).status).toBe(503);
            model.refuse('storeUnavailable');
          } else if (what === 'terminateStored' && away.length > 0) {
            const record = pick(away, n);
            const exchange = world.send('DELETE', { 'mcp-session-id': record.id, ...as(record.user) });
            expect((await exchange.reply()).status).toBe(503);
          } else if (what === 'terminate' && here.length > 0) {
            const session = pick(here, n);
            const exchange = world.send('DELETE', { 'mcp-session-id': session.id, ...as(session.user) });
            expect((await exchange.reply()).status).toBe(503);
            model.touch(session);
            // The touch of its record may have been due as well.
            model.doubt(session);
          }
          await settled(model, world);
        } finally {
          world.store.trouble = undefined;
        }
      },
    ),
  ),
);

const pass = fc.constantFrom(TICK, 100, 150, 160, 190, 200, 200, 210, 250, 400, 600, 800, 1500).map((ms) =>
  command(
    `pass(${ms})`,
    () => true,
    (model, world) => advance(model, world, ms),
  ),
);

const drain = command(
  'drain',
  ({ draining }) => !draining,
  async (model, world) => {
    world.stopped = world.router.drain(DRAIN_TIMEOUT);
    model.drain(DRAIN_TIMEOUT);
  },
);

/** Everything that clients, the app and the clock do to sessions. Commands that end sessions are rare, as little can follow them. */
export const commands: fc.Arbitrary<Command>[] = [
  openings,
  openings,
  openings,
  fc.oneof(finishOpening, throwInFactory, hangUpOpening),
  settleAbandoned,
  ping,
  call,
  call,
  fc.oneof(finishCall, finishCall, cancelCall),
  hangUpCall,
  stream,
  stream,
  hangUpStream,
  hangUpStream,
  fc.oneof(terminate, closeByApp, closeByServer, closeByPrincipal),
  trespass,
  fc.oneof(wake, wake, terminateAsleep, pingGone),
  fc.oneof({ weight: 2, arbitrary: fc.constant(crash) }, { weight: 1, arbitrary: withoutStore }),
  fc.oneof(restore, restore, restore, terminateStored, trespassStored, failToRestore),
  pass,
  pass,
  pass,
  fc.oneof({ weight: 9, arbitrary: pass }, { weight: 1, arbitrary: fc.constant(drain) }),
];
