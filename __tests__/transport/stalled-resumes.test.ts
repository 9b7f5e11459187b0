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

let child: ChildProcess;
let port: number;
beforeAll(async () => {
  const file = bundle('__tests__/transport/stalled-resumes.ts');
  child = fork(file, { execArgv: ['--expose-gc', '--max-old-space-size=512'] });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the process ended')));
  ended.catch(() => undefined);
  const [told] = (await Promise.race([once(child, 'message'), ended])) as [{ port: number }];
  port = told.port;
}, 60_000);
afterAll(() => child.kill('SIGKILL'));

interface Told {
  readonly resumes: number;
  readonly rss: number;
}

const ask = async (): Promise<Told> => (await fetch(`http://127.0.0.1:${port}/resumes`)).json() as Promise<Told>;

test(`${RESUMES} resumes of a stream of 40 MB that are never read take at most 250 MB, and other requests are served meanwhile`, async () => {
  const session = await RawSession.open(new URL(`http://127.0.0.1:${port}/mcp`));
  const other = await RawSession.open(session.url);
  const stream = new EventStream(await session.request(1, 'fill', { events: EVENTS, bytes: EVENT_BYTES }));
  const lastEventId = (await stream.block())!.id!;
  await stream.blocks();
  const before = await ask();

  const headers = Object.entries({ ...JSON_HEADERS, ...session.headers, 'last-event-id': lastEventId });
  const sockets = Array.from({ length: RESUMES }, () => {
    const socket = net.connect(port, '127.0.0.1').pause();
    socket.on('error', () => undefined).write(requestBytes('GET', '/mcp', headers));
    return socket;
  });
  let most = 0;
  await until('all have come', async () => {
    const { resumes, rss } = await ask();
    most = Math.max(most, rss);
    return resumes === RESUMES;
  });
  expect(await soon('an answer', other.call(1, 'ping'))).toMatchObject({ result: {} });
  for (let look = 0; look < 20; look += 1) {
    await other.call(2 + look, 'ping');
    most = Math.max(most, (await ask()).rss);
  }
  expect(most - before.rss).toBeLessThan(250 * MIB);

  const messages = await soon('a resume that is read', (await session.stream(lastEventId)).messages());
  expect(messages).toHaveLength(EVENTS + 1);
  for (const socket of sockets) socket.destroy();
}, 60_000);
