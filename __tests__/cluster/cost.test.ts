import { Peers } from '../../src/cluster/membership/peers.js';
import { nodesKey } from '../../src/cluster/membership/lease.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { FakeClock } from '../support/fake-clock.js';
import { AnyNodeSession } from './any-node.js';
import { FakeRedis, PREFIX, settled } from './in-process-fake-redis.js';
import { ObservedNode, TIMES } from './in-process-lease.js';
import { InProcessCluster } from './in-process.js';

const MINUTE = 60_000;

test.each([3, 50])(
  'each of %i nodes sends Redis at most 1.4 commands a second by itself (docs/scaling.md, "What it costs")',
  async (count) => {
    const clock = new FakeClock();
    const redis = new FakeRedis(clock);
    const nodes = Array.from({ length: count }, () => new ObservedNode(redis.send, clock, TIMES));
    await settled();
    const observers = nodes.map(
      () => new Peers({ send: redis.send, prefix: PREFIX, clock, timing: TIMES, proof: undefined }),
    );
    for (const observer of observers) observer.start();
    await settled();
    redis.commands.length = 0;
    for (let spent = 0; spent < MINUTE; spent += 50) {
      clock.advance(50);
      await settled();
    }
    const rate = redis.commands.length / count / (MINUTE / 1_000);
    process.stdout.write(`cost: ${rate.toFixed(3)} commands of each of ${count} nodes a second\n`);
    expect(rate).toBeLessThan(1.4);
    expect(nodes.flatMap(({ fenced }) => fenced)).toEqual([]);
    for (const observer of observers) observer.stop();
  },
);

test('a call that reaches the owner of its session costs no command to Redis', async () => {
  const cluster = await InProcessCluster.start();
  try {
    const commands: string[][] = [];
    const tap =
      (send: SendCommand): SendCommand =>
      (...command) => {
        commands.push(command);
        return send(...command);
      };
    const [node] = await cluster.nodes(2, { tap });
    const session = await AnyNodeSession.open(node!.url);
    await session.call(node!.url, 'echo');
    commands.length = 0;
    for (let n = 0; n < 50; n += 1) await session.call(node!.url, 'echo');
    // A node renews its lease meanwhile, and reads those of all.
    const ofSessions = commands.filter((command) => !command.includes(nodesKey(cluster.prefix)));
    expect(ofSessions).toEqual([]);
  } finally {
    await cluster.stop();
  }
}, 300_000);
