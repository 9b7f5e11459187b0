import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { EventLoopBudget } from '../../src/runtime/event-loop-budget.js';
import { FakeClock } from '../support/fake-clock.js';
import {
  JSON_HEADERS,
  echoServer,
  initializeBody,
  messagesOf,
  openSession,
  start,
  type Harness,
} from '../support/harness.js';
import { RawSocket } from '../support/raw-http.js';
import { ping } from '../support/target.js';

const context = new AsyncLocalStorage<number>();
// While a storage is enabled, Node 20 runs its hook for each promise of this process, those of later test files included.
afterAll(() => context.disable());

const tasks = fc.array(
  fc.record({
    ms: fc.double({ min: 0, max: 3, noNaN: true }),
    fails: fc.boolean(),
    /** In which turn it comes. */
    turn: fc.nat(3),
  }),
  { maxLength: 40 },
);

test('every task runs once, in order, in its own async context, and none begins in a turn that has used its millisecond', async () => {
  await fc.assert(
    fc.asyncProperty(tasks, async (given) => {
      const clock = new FakeClock();
      const turns = new EventLoopBudget(clock);
      const done: (number | undefined)[] = [];
      let spent = 0;
      const spend = (ms: number): void => {
        // Set before that of `Turns`, and so run before it.
        if (spent === 0) setImmediate(() => (spent = 0));
        expect(spent).toBeLessThan(1);
        spent += ms;
        clock.advance(ms);
      };

      const results = given.map(async ({ ms, fails, turn: waits }, i) => {
        for (let waited = 0; waited < waits; waited++) await turn();
        return context.run(i, () =>
          turns.run(() => {
            spend(ms);
            done.push(context.getStore());
            if (fails) throw new Error(`task ${i}`);
            return i;
          }),
        );
      });

      expect(await Promise.allSettled(results)).toEqual(
        given.map(({ fails }, i) =>
          fails ? { status: 'rejected', reason: new Error(`task ${i}`) } : { status: 'fulfilled', value: i },
        ),
      );
      const order = given.map((task, i) => ({ ...task, i })).sort((a, b) => a.turn - b.turn || a.i - b.i);
      expect(done).toEqual(order.map(({ i }) => i));
    }),
  );
});

describe('when many clients come at once', () => {
  const CLIENTS = 30;
  let harness: Harness;
  let sockets: RawSocket[];
  let built: number;
  let onBuild: () => void;
  let session: string;

  beforeEach(async () => {
    [built, onBuild] = [0, () => undefined];
    harness = await start({
      serverFactory: () => {
        built += 1;
        onBuild();
        const until = performance.now() + 2;
        while (performance.now() < until);
        return echoServer();
      },
    });
    sockets = await Promise.all(Array.from({ length: CLIENTS + 1 }, () => RawSocket.open(harness.url.port)));
    session = await openSession(harness.url);
    built = 0;
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await harness.close();
  });

  const send = (socket: RawSocket, body: unknown, headers: Record<string, string> = {}) =>
    socket.exchange('POST', '/mcp', Object.entries({ ...JSON_HEADERS, ...headers }), JSON.stringify(body));

  test('a request of an open session is answered long before all their servers are built', async () => {
    const [mine, ...theirs] = sockets;
    const answered = new Promise<{ status: number; builtBefore: number }>((resolve, reject) => {
      onBuild = () => {
        onBuild = () => undefined;
        send(mine!, ping(1), { 'mcp-session-id': session }).then(
          ({ status }) => resolve({ status, builtBefore: built }),
          reject,
        );
      };
    });
    const opened = theirs.map((socket) => send(socket, initializeBody()));
    const { status, builtBefore } = await answered;
    expect(status).toBe(200);
    expect(builtBefore).toBeLessThan(CLIENTS / 2);
    for (const { status, body } of await Promise.all(opened)) {
      expect(status).toBe(200);
      expect(messagesOf(body)).toMatchObject([{ id: 0, result: { protocolVersion: '2025-11-25' } }]);
    }
    expect(built).toBe(CLIENTS);
  });

  test('no server is built for a client that hangs up before its turn', async () => {
    const [patient, ...others] = sockets;
    onBuild = () => setImmediate(() => others.forEach((socket) => socket.destroy()));
    const opened = send(patient!, initializeBody());
    // What is read from them depends on when they hang up.
    for (const socket of others) void send(socket, initializeBody()).catch(() => undefined);
    expect(await opened).toMatchObject({ status: 200 });
    while (harness.router.sessions.list().length !== 2) await turn();
    expect(built).toBeLessThan(CLIENTS / 2);
  });
});
