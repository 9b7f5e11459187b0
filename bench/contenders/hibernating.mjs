import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import express from 'express';
import { mcpRouter } from 'express-mcp-router';
import { spread } from '../report/figures.mjs';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { listen } from './listening.mjs';
import { SetClock } from './set-clock.mjs';

const ORPHAN_AFTER = 60_000;
const HIBERNATE_AFTER = 60_000;
/** Longer than the benchmark ever advances the clock. */
const TTL = 24 * 60 * 60_000;

/** This package with a clock that the benchmark advances, so that sessions hibernate on command. */
export async function start(settings) {
  const clock = new SetClock();
  const serverFactory = sdkFactory(settings);
  const mcp = mcpRouter({
    serverFactory,
    clock,
    orphanAfter: ORPHAN_AFTER,
    hibernateAfter: HIBERNATE_AFTER,
    ttl: TTL,
    maxSessions: 100_000,
    metrics: false,
    logger: false,
  });
  const awake = () => mcp.sessions.stats().active + mcp.sessions.stats().orphaned;
  return {
    url: await listen(http.createServer(express().use('/mcp', mcp))),
    build(count) {
      const times = Array.from({ length: count }, () => {
        const from = performance.now();
        serverFactory();
        return performance.now() - from;
      });
      return spread(times).median;
    },
    async hibernate() {
      clock.set(clock.now() + ORPHAN_AFTER);
      clock.set(clock.now() + HIBERNATE_AFTER);
      while (awake() > 0) await delay(10);
    },
  };
}
