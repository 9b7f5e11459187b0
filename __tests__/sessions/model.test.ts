import fc from 'fast-check';
import { until } from '../support/waiting.js';
import { advance, agree, commands, DRAIN_TIMEOUT, settled } from './commands.js';
import { Model } from './model.js';
import type { Settings } from './model-parts.js';
import { World } from './world.js';

/** More of them with MODEL_RUNS=5000, say. */
const RUNS = Number(process.env.MODEL_RUNS ?? 100);

const settings: fc.Arbitrary<Settings> = fc.record({
  ttl: fc.constant(1500),
  stored: fc.boolean(),
  orphanAfter: fc.constant(200),
  hibernateAfter: fc.constantFrom(undefined, 252),
  orphanTtl: fc.constant(700),
  maxLifetime: fc.constantFrom(undefined, 1903),
  requestTimeout: fc.constant(801),
  openTimeout: fc.constant(505),
  keepAlive: fc.constant(157),
  maxSessions: fc.constantFrom(3, 4),
  maxSessionsPerPrincipal: fc.constantFrom(undefined, 2, 2),
  maxAnonymousSessions: fc.constantFrom(2, 3),
  enableJsonResponse: fc.boolean(),
});

/** Ends a run as an app would, and looks for anything that was left. */
async function finish(model: Model, world: World, ending: 'close' | 'drain'): Promise<void> {
  if (ending === 'close') {
    world.stopped = world.router.close();
    model.closeAll();
  } else if (!model.draining) {
    world.stopped = world.router.drain(DRAIN_TIMEOUT);
    model.drain(DRAIN_TIMEOUT);
  }
  await settled(model, world);
  await advance(model, world, DRAIN_TIMEOUT);
  await world.stopped;
  for (const exchange of world.exchanges) await exchange.over();
  await agree(model, world);
  expect(model.sessions).toEqual([]);
  expect(world.clock.pending).toBe(0);

  // A late result of the app's own code finds no session, and leaves nothing.
  for (const gate of world.gates.values()) gate.resolve();
  for (const handler of world.handlers.values()) (await handler.promise).finish();
  await until('servers that came too late are closed', () => world.servers.size === 0 && world.clock.pending === 0);
}

test(
  'whatever clients, app and clock do, states, counts and Prometheus follow docs/sessions.md, and a stopped router leaves no timer, server or reply',
  async () => {
    const run = async (chosen: Settings, plan: Iterable<fc.AsyncCommand<Model, World>>, ending: 'close' | 'drain') => {
      const { stored, ...options } = chosen;
      const world = await World.start(options, stored);
      const model = new Model(chosen, world.clock.now());
      try {
        await fc.asyncModelRun(() => ({ model, real: world }), plan);
        await finish(model, world, ending);
      } finally {
        await world.stop();
      }
    };
    const plans = fc.commands(commands, { maxCommands: 40, size: 'max' });
    const endings = fc.constantFrom('close' as const, 'drain' as const);
    await fc.assert(fc.asyncProperty(settings, plans, endings, run), {
      numRuns: RUNS,
      // A hang is found again at each step of the shrinking.
      interruptAfterTimeLimit: RUNS * 2_000,
      markInterruptAsFailure: true,
    });
  },
  RUNS * 3_000,
);
