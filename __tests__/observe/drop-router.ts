import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { createMetrics } from '../../src/observe/prometheus/metrics.js';
import type { SessionLevels } from '../../src/observe/prometheus/session-levels.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { valueOf } from '../support/exposition.js';
import { levelsOf, sessionInfo } from '../support/session-info.js';
import { until } from '../support/waiting.js';

// A program for `node --expose-gc`. Two routers with a session each share a registry. Prints how many sessions are active once one
// of the routers is collected, and fails when that stays in memory.

const registry = new Registry();
const routers: SessionLevels[] = [];
const active = async (): Promise<number | undefined> => valueOf(await registry.metrics(), 'mcp_sessions_active');

// In functions, as a module that has not ended holds all that it has touched.
function addRouter(): void {
  const levels = levelsOf([sessionInfo()]);
  routers.push(levels);
  createMetrics(new Emitter(() => undefined), levels, { registry });
}
const dropRouter = (): WeakRef<SessionLevels> => new WeakRef(routers.pop()!);

addRouter();
addRouter();
assert.equal(await active(), 2);
const dropped = dropRouter();
await until('the router is collected', () => {
  globalThis.gc!();
  return dropped.deref() === undefined;
});
console.log(await active());
assert.equal(routers.length, 1);
