import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { Turns } from '../../src/sessions/turns.js';
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
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { ping } from '../support/target.js';

const tasks = fc.array(
  fc.record({
    ms: fc.double({ min: 0, max: 3, noNaN: true }),
    fails: fc.boolean(),
    /** In which turn it comes. */
    turn: fc.nat(3),
  }),
  { maxLength: 40 },
);

test('whatever comes when: all is done once, in order, in its own context; nothing is begun in a turn that had its millisecond', async () => {
  await fc.assert(
    fc.asyncProperty(tasks, async (given) => {
      const clock = new FakeClock();
      const turns = new Turns(clock);
      const context = new AsyncLocalStorage<number>();
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
  /** How many servers were built when a ping of an open session was answered. */
  let builtBefore: number | undefined;
  let onBuild: () => void;
  let session: string;

  beforeEach(async () => {
    [built, builtBefore, onBuild] = [0, undefined, () => undefined];
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

  const request = (body: unknown, headers: Record<string, string> = {}) =>
    requestBytes('POST', '/mcp', Object.entries({ ...JSON_HEADERS, ...headers }), JSON.stringify(body));

  test('a request of an open session is answered long before all their servers are built', async () => {
    const [mine, ...theirs] = sockets;
    const answered = new Promise<void>((resolve) => {
      onBuild = () => {
        onBuild = () => undefined;
        void mine!
          .exchange(
            'POST',
            '/mcp',
            Object.entries({ ...JSON_HEADERS, 'mcp-session-id': session }),
            JSON.stringify(ping(1)),
          )
          .then(({ status }) => {
            expect(status).toBe(200);
            builtBefore = built;
            resolve();
          });
      };
    });
    const opened = theirs.map(async (socket) => {
      await socket.write(request(initializeBody()));
      return socket.response();
    });
    await answered;
    expect(builtBefore).toBeLessThan(CLIENTS / 2);
    for (const { status, body } of await Promise.all(opened)) {
      expect(status).toBe(200);
      expect(messagesOf(body)).toMatchObject([{ id: 0, result: { protocolVersion: '2025-11-25' } }]);
    }
    expect(built).toBe(CLIENTS);
  });

  test('for those who hang up before their turn no server is built', async () => {
    const [patient, ...others] = sockets;
    onBuild = () => setImmediate(() => others.forEach((socket) => socket.destroy()));
    const opened = sockets.map((socket) => socket.write(request(initializeBody())));
    await Promise.all(opened);
    expect(await patient!.response()).toMatchObject({ status: 200 });
    while (harness.router.sessions.list().length !== 2) await turn();
    expect(built).toBeLessThan(CLIENTS / 2);
  });
});
