import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { killWithThisProcess } from '../support/watchdog.js';
import { RedisServer } from '../support/redis-server.js';
import { soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { bundle, STANDALONE } from '../support/program.js';

const REQUESTS = 40;
/** A new connection for each request, so that node:cluster spreads the requests over the workers. */
const CLOSE = { connection: 'close' };

let redis: RedisServer;
let primary: ChildProcess;
let disarm: () => void;
beforeAll(async () => {
  redis = await RedisServer.start();
  const outfile = bundle('__tests__/cluster/worker.ts', STANDALONE);
  primary = fork(outfile, { execArgv: [], env: { PATH: process.env.PATH, REDIS_URL: redis.url } });
  disarm = killWithThisProcess(primary.pid!);
}, 300_000);
afterAll(async () => {
  // The workers end with the primary, as their channel closes.
  const exited = once(primary, 'exit');
  primary.kill('SIGKILL');
  await exited;
  disarm();
  await redis.stop();
});

test(`three workers of node:cluster serve ${REQUESTS} of ${REQUESTS} requests for one session, at any worker (docs/scaling.md)`, async () => {
  const [workers] = (await soon('the workers listen', once(primary, 'message'))) as [{ port: number; pid: number }[]];
  const port = workers[0]!.port;
  expect(workers.map((worker) => worker.port)).toEqual([port, port, port]);
  const ready = new Set<string | null>();
  await until('each worker is ready', async () => {
    const response = await fetch(`http://127.0.0.1:${port}/ready`, { headers: CLOSE });
    if (response.status === 200) ready.add(response.headers.get('x-pid'));
    return ready.size === workers.length;
  });
  const session = await AnyNodeSession.open(new URL(`http://127.0.0.1:${port}/mcp`));
  const url = new URL(`http://127.0.0.1:${port}/mcp`);
  const statuses: number[] = [];
  const served = new Set<number>();
  for (let n = 0; n < REQUESTS; n += 1) {
    const response = await session.post(url, session.body('pid'), CLOSE);
    statuses.push(response.status);
    for (const [, pid] of (await response.text()).matchAll(/\\"pid\\":(\d+)/g)) served.add(Number(pid));
  }
  expect(statuses).toEqual(Array.from({ length: REQUESTS }, () => 200));
  // The session has one server, in one worker, so most of the requests were forwarded.
  expect(served.size).toBe(1);
});
