// Measures the cost of an open admin page: the share of one core that a process with many sessions takes while the page asks as it does in a
// browser, and while it does not, in turns. The first round is not counted.
// In this folder: `node prepare.mjs --without-peers && node admin-page.mjs [--sessions 10000] [--rounds 5] [--seconds 20]`
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { adminPage } from 'express-mcp-router/admin';
import { createMcpEndpoint } from 'express-mcp-router/node';
import { Connection } from './load/connection.mjs';
import { Session } from './load/session.mjs';
import { spread } from './report/figures.mjs';
import { range, table } from './report/format.mjs';
import { answerParent } from './run/answering.mjs';
import { Child } from './run/child.mjs';
import { cpuMs } from './run/cpu.mjs';
import { sdkFactory } from './tools/sdk-v1.mjs';

const CACHE = fileURLToPath(new URL('.cache/', import.meta.url));
const POLL_MS = 2_000;
/** Sessions that are opened at once. */
const AT_ONCE = 10;

/** The child process: an endpoint on plain `node:http`, with the page beside it. */
async function host() {
  const serverFactory = sdkFactory({ tools: 1, factory: 'low-level' });
  const mcp = createMcpEndpoint({ serverFactory, maxSessions: 100_000, logger: false });
  const page = adminPage(mcp);
  const server = createServer((req, res) => {
    if (!req.url.startsWith('/admin/')) return void mcp.handle(req, res);
    req.url = req.url.slice('/admin'.length);
    page(req, res);
  });
  server.keepAliveTimeout = 0;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  answerParent({ port: () => server.address().port, cpu: cpuMs });
}

async function openSessions(target, count) {
  let opened = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      const connection = new Connection(target);
      while (opened++ < count) await Session.open(connection, target);
      connection.close();
    }),
  );
}

/** Asks as the page does: each time when both answers have come, two seconds later. */
async function poll(url, paths, signal) {
  while (!signal.aborted) {
    const answers = await Promise.all(paths.map((path) => fetch(new URL(path, url)).then((answer) => answer.json())));
    if (!(answers[0].found > 0)) throw new Error('the page shows no session');
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** The share of one core that the child takes, in percent, while `paths` are asked for. */
async function share(child, url, paths, seconds) {
  const ended = new AbortController();
  const [before, from] = [await child.ask('cpu'), performance.now()];
  const polling = paths.length === 0 ? undefined : poll(url, paths, ended.signal);
  await sleep(seconds * 1000);
  const [after, to] = [await child.ask('cpu'), performance.now()];
  ended.abort();
  await polling;
  return (100 * (after - before)) / (to - from);
}

async function main() {
  const { values } = parseArgs({
    options: {
      sessions: { type: 'string', default: '10000' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '20' },
    },
  });
  const [sessions, rounds, seconds] = [values.sessions, values.rounds, values.seconds].map(Number);
  mkdirSync(CACHE, { recursive: true });
  const child = new Child(new URL(import.meta.url), { args: ['host'], log: `${CACHE}admin-page.log` });
  await child.ready();
  const port = await child.ask('port');
  const url = `http://127.0.0.1:${port}/admin/`;
  await openSessions({ host: '127.0.0.1', port, path: '/mcp' }, sessions);

  const list = 'api/sessions?order=age&direction=ascending&offset=0&limit=50';
  const [{ key }] = (await (await fetch(url + list)).json()).rows;
  const turns = { 'no page': [], 'the list': [list], 'the list and a session': [list, `api/session?key=${key}`] };
  const shares = Object.fromEntries(Object.keys(turns).map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, paths] of Object.entries(turns)) {
      const measured = await share(child, url, paths, seconds);
      if (round > 0) shares[name].push(measured);
    }
  }
  const rows = Object.entries(shares).map(([name, all]) => {
    const more = all.map((one, round) => one - shares['no page'][round]);
    return [name, range(spread(all), 2), range(spread(more), 2)];
  });
  console.log(
    `${sessions} sessions, ${rounds} rounds of ${seconds} s each: percent of one core, median (least–most)\n`,
  );
  console.log(table(['open', 'share', 'more than without'], rows));
  await child.end();
}

await (process.argv[2] === 'host' ? host() : main());
