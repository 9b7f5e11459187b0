// What the reaper costs, by the package's public interface alone: the `clock` option, and real sessions over HTTP.
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import express from 'express';
import { mcpRouter } from 'express-mcp-router';
import { listen } from '../contenders/listening.mjs';
import { expect } from '../load/answers.mjs';
import { Connection } from '../load/connection.mjs';
import { Session } from '../load/session.mjs';
import { repeat } from '../load/window.mjs';
import { answerParent } from '../run/answering.mjs';
import { SetClock } from './clock.mjs';
import { IdleServer } from './server.mjs';

const ORPHAN_AFTER = 60_000;
const TTL = 30 * 60_000;
/** When all sessions but the first are opened. */
const LATER = 1000;

/** Sessions and rounds that are not measured: they have the code compiled, as it is in a process that has run for a while. */
const WARM = { count: 200, rounds: 5 };

async function measure(count) {
  for (let round = 0; round < WARM.rounds; round += 1) await reap(WARM.count);
  return reap(count);
}

async function reap(count) {
  const clock = new SetClock();
  const router = mcpRouter({
    serverFactory: () => new IdleServer(),
    clock,
    ttl: TTL,
    orphanAfter: ORPHAN_AFTER,
    maxSessions: count + 1,
    logger: false,
  });
  const { hostname, port, pathname } = new URL(await listen(http.createServer(express().use('/mcp', router))));
  const target = { host: hostname, port: Number(port), path: pathname };

  const connections = Array.from({ length: 8 }, () => new Connection(target));
  await Promise.all(connections.map((connection) => connection.opened()));
  const first = await Session.open(connections[0], target);
  clock.set(LATER);
  await repeat(connections, count, (connection) => Session.open(connection, target));
  // The first one set the reaper's timer. When that runs, its session is gone, and the next is due only later.
  await first.end(connections[0]);
  for (const connection of connections) connection.close();
  await delay(200);

  const timed = (time) => {
    globalThis.gc();
    const from = performance.now();
    const timers = clock.set(time);
    const ms = performance.now() - from;
    if (timers === 0) throw new Error(`no timer ran at ${time} ms`);
    return ms;
  };
  const none = timed(ORPHAN_AFTER);
  expect('active sessions', router.sessions.stats().active, count);
  const orphaned = timed(LATER + ORPHAN_AFTER);
  expect('orphaned sessions', router.sessions.stats().orphaned, count);
  const expired = timed(LATER + TTL);
  expect('sessions left', router.sessions.list().length, 0);
  return { none, orphaned, expired, expiredEach: (expired / count) * 1000 };
}

answerParent({ measure });
