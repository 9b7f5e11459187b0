import { setTimeout as sleep } from 'node:timers/promises';
import { Random, SEED } from '../chaos/random.js';
import { SteppedClock } from '../support/stepped-clock.js';
import { AnyNodeSession } from './any-node.js';
import { tally } from './clients.js';
import { InProcessCluster, type InProcessNode, type Tool } from './in-process.js';

/** `npm run chaos` sets more. */
const STEPS = Number(process.env.CLUSTER_CLOCK_STEPS ?? 8);
/** How far the wall clocks are from the real one, in seconds. */
const OFFSETS = [10, -10, 3_600, -3_600, 0];
/** The time between two steps in ms: one for several renewals. */
const BETWEEN = 600;
const TIMES = { lease: 3_000, renewInterval: 300, fenceAfter: 2_000, claimTimeout: 5_000 };
const SESSIONS = 6;
const WORKERS = 4;

const random = new Random(SEED);

/** Each call that was carried out, as something outside of the cluster saw it. */
interface Effect {
  readonly session: string;
  readonly owner: string;
}
const effects: Effect[] = [];
const tools: Readonly<Record<string, Tool>> = {
  async count({ context, node }) {
    effects.push({ session: context.sessionId!, owner: `${node.name} in epoch ${context.epoch}` });
    const count = Number(context.state.get('count') ?? 0) + 1;
    await context.state.set('count', count);
    return { count };
  },
};

let clock: SteppedClock;
let cluster: InProcessCluster;
let nodes: readonly InProcessNode[];
beforeAll(async () => {
  clock = await SteppedClock.build();
  cluster = await InProcessCluster.start({ env: clock.env });
  nodes = await cluster.nodes(3, { tools, times: TIMES });
}, 300_000);
afterAll(async () => {
  await cluster.stop();
  clock.remove();
});

const redisTime = async (): Promise<number> => Number(((await cluster.ask('TIME')) as string[])[0]);

test(
  `no session gets a second owner, and none is lost, while the wall clocks of Redis and of the nodes are stepped ${STEPS} times by 10 s or 1 h (docs/scaling.md, "Why two nodes never own a session")`,
  async () => {
    const sessions = await Promise.all(
      Array.from({ length: SESSIONS }, (_, n) => AnyNodeSession.open(nodes[n % nodes.length]!.url)),
    );
    const { now } = Date;
    let offset = 0;
    const stepped = jest.spyOn(Date, 'now').mockImplementation(() => now() + 1_000 * offset);
    const errors: string[] = [];
    let isOver = false;
    const work = async (): Promise<void> => {
      while (!isOver) {
        const session = sessions[random.integer(0, SESSIONS)]!;
        const { url } = nodes[random.integer(0, nodes.length)]!;
        await session.call(url, 'count').catch((error: unknown) => errors.push(String(error)));
      }
    };
    const working = Array.from({ length: WORKERS }, work);
    for (let n = 0; n < STEPS; n += 1) {
      const seconds = OFFSETS[n % OFFSETS.length]!;
      clock.stepTo(seconds);
      offset = OFFSETS[random.integer(0, OFFSETS.length)]!;
      await sleep(BETWEEN);
      // Or nothing would be tried here.
      expect(Math.abs((await redisTime()) - now() / 1_000 - seconds)).toBeLessThan(5);
    }
    isOver = true;
    await Promise.all(working);
    stepped.mockRestore();
    process.stdout.write(`clock-steps, CHAOS_SEED=${SEED}: ${effects.length} calls in ${STEPS} steps\n`);

    expect(tally(errors)).toEqual({});
    for (const [n, session] of sessions.entries()) {
      const own = effects.filter((effect) => effect.session === session.id);
      expect(tally(own.map(({ owner }) => owner))).toEqual({
        [`${nodes[n % nodes.length]!.name} in epoch 0`]: own.length,
      });
      expect(await session.call(nodes[0]!.url, 'count')).toMatchObject({ count: own.length + 1 });
    }
    for (const node of nodes) {
      expect(node.lines('cluster node fenced: its sessions are let go of')).toEqual([]);
      expect(node.lines('session claimed')).toEqual([]);
    }
  },
  60_000 + STEPS * 2_000,
);
