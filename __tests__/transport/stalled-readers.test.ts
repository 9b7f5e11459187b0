import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { EventStream } from '../support/event-stream.js';
import { JSON_HEADERS } from '../support/harness.js';
import { requestBytes } from '../support/raw-http.js';
import { RawSession } from '../support/raw-session.js';
import { soon, until } from '../support/waiting.js';
import { bundle } from '../support/program.js';

const MIB = 1024 * 1024;
const RESUMES = 200;
const EVENTS = 640;
const EVENT_BYTES = 64 * 1024;
const CALLS = 40;
const RESULT_BYTES = 7.5 * MIB;

let child: ChildProcess;
let port: number;
const sockets: net.Socket[] = [];
beforeEach(async () => {
  const file = bundle('__tests__/transport/stalled-readers.ts');
  child = fork(file, { execArgv: ['--expose-gc', '--max-old-space-size=512'] });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the process ended')));
  ended.catch(() => undefined);
  const [told] = (await Promise.race([once(child, 'message'), ended])) as [{ port: number }];
  port = told.port;
}, 60_000);
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  child.kill('SIGKILL');
});

interface Told {
  readonly resumes: number;
  readonly calls: number;
  readonly inUse: number;
}

/** @param collect - Whether garbage is collected first. */
const ask = async (collect = true): Promise<Told> =>
  (await fetch(`http://127.0.0.1:${port}/stalled?${collect ? 'gc' : ''}`)).json() as Promise<Told>;

/** Sends a request on a connection of its own, whose reply is never read. */
function stall(method: string, path: string, headers: Record<string, string>, body?: string): void {
  const socket = net.connect(port, '127.0.0.1').pause();
  sockets.push(socket);
  socket
    .on('error', () => undefined)
    .write(requestBytes(method, path, Object.entries({ ...JSON_HEADERS, ...headers }), body));
}

/** The most memory that the process takes until `done` holds, and in twenty calls of another session after that. */
async function mostMemory(done: (told: Told) => boolean, other: RawSession): Promise<number> {
  let most = 0;
  const look = async (): Promise<void> => {
    most = Math.max(most, (await ask()).inUse);
  };
  let waits = 0;
  await until('all have come', async () => {
    waits += 1;
    if (waits % 100 === 0) await look();
    return done(await ask(false));
  });
  for (let n = 0; n < 20; n += 1) {
    expect(await soon('an answer', other.call(1 + n, 'ping'))).toMatchObject({ result: {} });
    await look();
  }
  return most;
}

test(`${RESUMES} resumes of a stream of 40 MB that are never read take at most 250 MB, and other requests are served meanwhile`, async () => {
  const session = await RawSession.open(new URL(`http://127.0.0.1:${port}/mcp`));
  const other = await RawSession.open(session.url);
  const stream = new EventStream(await session.request(1, 'fill', { events: EVENTS, bytes: EVENT_BYTES }));
  const lastEventId = (await stream.block())!.id!;
  await stream.blocks();
  const before = await ask();

  for (let n = 0; n < RESUMES; n += 1) stall('GET', '/mcp', { ...session.headers, 'last-event-id': lastEventId });
  const most = await mostMemory(({ resumes }) => resumes === RESUMES, other);
  expect(most - before.inUse).toBeLessThan(250 * MIB);

  const messages = await soon('a resume that is read', (await session.stream(lastEventId)).messages());
  expect(messages).toHaveLength(EVENTS + 1);
});

test(`${CALLS} calls with results of 7.5 MB that are never read take at most 200 MB, and other requests are served meanwhile`, async () => {
  const session = await RawSession.open(new URL(`http://127.0.0.1:${port}/plain`));
  const other = await RawSession.open(session.url);
  const before = await ask();

  for (let id = 1; id <= CALLS; id += 1) {
    const call = { jsonrpc: '2.0', id, method: 'big', params: { bytes: RESULT_BYTES } };
    stall('POST', '/plain', session.headers, JSON.stringify(call));
  }
  const most = await mostMemory(({ calls }) => calls === CALLS, other);
  expect(most - before.inUse).toBeLessThan(200 * MIB);

  const { result } = await soon('a call that is read', session.call(CALLS + 1, 'big', { bytes: RESULT_BYTES }));
  expect(result.text).toHaveLength(RESULT_BYTES);
});

test('batches whose clients hung up before the last answer take no memory for the answers before it', async () => {
  const BATCHES = 12;
  const RESULTS = 40;
  const session = await RawSession.open(new URL(`http://127.0.0.1:${port}/plain`), { version: '2025-03-26' });
  const other = await RawSession.open(session.url);
  const before = await ask();
  for (let batch = 0; batch < BATCHES; batch += 1) {
    const calls = Array.from({ length: RESULTS + 1 }, (_, n) => ({
      jsonrpc: '2.0',
      id: 100 * batch + n,
      method: n < RESULTS ? 'big' : 'hang',
      params: { bytes: MIB },
    }));
    stall('POST', '/plain', { ...session.headers, accept: 'application/json' }, JSON.stringify(calls));
    await until('all of its calls have begun', async () => (await ask(false)).calls === (batch + 1) * (RESULTS + 1));
    sockets.pop()?.destroy();
  }
  const most = await mostMemory(() => true, other);
  expect(most - before.inUse).toBeLessThan(200 * MIB);
});
