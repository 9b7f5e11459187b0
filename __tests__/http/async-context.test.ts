import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Express, RequestHandler } from 'express';
import { FakeClock } from '../support/fake-clock.js';
import { echoServer, initializeBody, JSON_HEADERS, messagesOf, post, start, type Harness } from '../support/harness.js';
import { chunked, RawSocket, requestBytes } from '../support/raw-http.js';
import { answerOf } from '../support/raw-session.js';
import { startScripted, type Method } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

// Node, `AsyncLocalStorage`: the store in which an app's middleware runs the rest of its request is the handler's store too.

const CALLS = 200;
const SESSIONS = 10;
const OPENINGS = 100;
/** The last chunk (RFC 9112, 7.1). */
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

const storage = new AsyncLocalStorage<string>();
// While a storage is enabled, Node 20 runs its hook for each promise of this process, those of later test files included.
afterAll(() => storage.disable());

let harness: Harness;
let sockets: RawSocket[];
beforeEach(() => (sockets = []));
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  return harness.close();
});

/** The name of a request is its store. */
const mount = (app: Express, router: RequestHandler): void => {
  app.use((req, _res, next) => storage.run(String(req.headers['x-request'] ?? 'no name'), next));
  app.use('/mcp', router);
};

/** Sends the head and the first chunk of a POST; gives what sends the rest, and resolves to the body of the response. */
async function begin(url: URL, body: object, headers: Record<string, string>): Promise<() => Promise<string>> {
  const socket = await RawSocket.open(url.port);
  sockets.push(socket);
  const bytes = Buffer.from(JSON.stringify(body));
  const middle = Math.floor(bytes.length / 2);
  const all = { ...JSON_HEADERS, ...headers, 'transfer-encoding': 'chunked' };
  const first = chunked(bytes.subarray(0, middle)).subarray(0, -LAST_CHUNK.length);
  await socket.write(requestBytes('POST', url.pathname, Object.entries(all), first));
  return async () => {
    void socket.write(chunked(bytes.subarray(middle)));
    return (await socket.response()).body;
  };
}

const names = (count: number) => Array.from({ length: count }, (_, n) => `request ${n}`);

test(`each of ${CALLS} concurrent handlers is in the AsyncLocalStorage of its own request, also where the body comes in two chunks`, async () => {
  const gate = new Deferred();
  let running = 0;
  const look: Method = async () => {
    const stores = [storage.getStore()];
    running += 1;
    await gate.promise;
    stores.push(storage.getStore());
    await setImmediate();
    stores.push(storage.getStore());
    return { stores };
  };
  const scripted = await startScripted({ look }, {}, undefined, mount);
  harness = scripted;
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => scripted.session()));
  const callOf = (name: string, n: number): [URL, object, Record<string, string>] => [
    scripted.url,
    { jsonrpc: '2.0', id: name, method: 'look', params: {} },
    { ...sessions[n % SESSIONS]!.headers, 'x-request': name },
  ];
  const [whole, halved] = [names(CALLS).slice(CALLS / 2), names(CALLS).slice(0, CALLS / 2)];
  const rests = await Promise.all(halved.map((name, n) => begin(...callOf(name, n))));
  // The second half of each body comes when the first halves of all are there, and in another order.
  const answers = [
    ...whole.map((name, n) => post(...callOf(name, n)).then(answerOf)),
    ...rests.reverse().map(async (rest) => messagesOf(await rest()).at(-1)),
  ];
  await until('all run', () => running === CALLS);
  gate.resolve();
  const stores = (await soon('the answers', Promise.all(answers))) as { id: string; result: { stores: string[] } }[];
  expect(stores.map(({ id }) => id).sort()).toEqual(names(CALLS).sort());
  expect(stores.filter(({ id, result }) => result.stores.some((store) => store !== id))).toEqual([]);
});

test('listeners of `signal` and `settled` run in the AsyncLocalStorage of the request that times out (docs/recipes.md)', async () => {
  const requests = ['first', 'second'];
  const running = new Set<string>();
  const aborted: [name: string, store: string | undefined][] = [];
  const settled: (string | undefined)[] = [];
  const hang: Method = ({ name }, { signal }) => {
    running.add(name!);
    signal.addEventListener('abort', () => aborted.push([name!, storage.getStore()]));
    return never();
  };
  const scripted = await startScripted({ hang }, { requestTimeout: 5_000 }, undefined, mount);
  harness = scripted;
  const session = await scripted.session();
  scripted.router.sessions.on('settled', ({ outcome }) => outcome === 'timeout' && settled.push(storage.getStore()));
  const answers = requests.map((name) =>
    post(
      scripted.url,
      { jsonrpc: '2.0', id: name, method: 'hang', params: { name } },
      { ...session.headers, 'x-request': name },
    ).then(answerOf),
  );
  await until('both run', () => running.size === requests.length);
  scripted.clock.advance(5_000);
  await soon('the answers', Promise.all(answers));
  expect(aborted.sort()).toEqual(requests.map((name) => [name, name]));
  expect(settled.sort()).toEqual(requests);
});

// Node, `AsyncResource`: its collection emits `destroy`. A context manager of OpenTelemetry keeps an entry for each until then.
test('the async context of each request is destroyed after the request has settled', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const living = new Set<number>();
  const hook = createHook({
    init: (id, type) => {
      if (type === 'McpRequest') living.add(id);
    },
    destroy: (id) => living.delete(id),
  });
  const scripted = await startScripted({}, {}, undefined, mount);
  harness = scripted;
  const session = await scripted.session();
  hook.enable();
  try {
    for (let id = 1; id <= 20; id += 1) {
      await post(scripted.url, { jsonrpc: '2.0', id, method: 'ping' }, session.headers);
    }
    expect(living.size).toBeGreaterThan(0);
    await until('the contexts are destroyed, but for one that V8 may still have on its stack', () => {
      collectGarbage();
      return living.size <= 1;
    });
  } finally {
    hook.disable();
  }
});

test('the factory of each of many sessions that open in one turn of the event loop is in the AsyncLocalStorage of its own initialize', async () => {
  const clock = new FakeClock();
  const gate = new Deferred();
  let held = 0;
  const built: [principal: string | undefined, store: string | undefined][] = [];
  harness = await start(
    {
      clock,
      principal: (req) => String(req.headers['x-request']),
      serverFactory: (context) => {
        built.push([context.principal, storage.getStore()]);
        // As long as servers may be built in one turn: all others of that turn wait for a later one.
        clock.advance(1);
        return echoServer(context);
      },
    },
    (app, router) => {
      mount(app, (req, res, next) => {
        held += 1;
        void gate.promise.then(() => router(req, res, next));
      });
    },
  );
  const replies = names(OPENINGS).map((name) =>
    post(harness.url, initializeBody(), { 'x-request': name }).then(answerOf),
  );
  await until('all are held', () => held === OPENINGS);
  gate.resolve();
  await soon('the answers', Promise.all(replies));
  expect(built.sort()).toEqual(
    names(OPENINGS)
      .map((name) => [name, name])
      .sort(),
  );
});
