import { setTimeout as sleep } from 'node:timers/promises';
import { Random, SEED } from '../chaos/random.js';
import { AnyNodeSession } from './any-node.js';
import { tally, type ClusterClient, type Told } from './clients.js';
import { LONG_LEASE, START_TIMEOUT, startCluster, type Cluster } from './cluster.js';

/** `npm run chaos` sets more. */
const KILLS = Number(process.env.CLUSTER_KILLS ?? 1);
/** Clients that have nothing in flight when a node is killed, and clients that have. */
const QUIET = 12;
const BUSY = 6;
/** Sessions that all other nodes are asked for at once, and how often each. */
const WANTED = 20;
const TIMES = 2;
/** A time in ms that only a hang exceeds. The figures are what the test prints on an idle machine. */
const HUNG = 30_000;
/** `atLeast`: the shortest time in ms until a session is claimed. */
const DEATHS = [
  // With a lease as long as `HUNG`, a session that is claimed sooner did not wait for it.
  { death: 'is proved', apart: false, options: LONG_LEASE, kills: KILLS, atLeast: 0 },
  // With the default lease: `lease` less `fenceAfter`, as the last renewal was sent at most `fenceAfter` before the kill. Requests
  // are held for longer than by default, so that a busy machine costs them no 503.
  {
    death: 'shows by its lease alone',
    apart: true,
    options: { claimTimeout: 40_000 },
    kills: Math.ceil(KILLS / 2),
    atLeast: 1_700,
  },
];

const random = new Random(SEED);

/** How calls ended that were in flight, some of them at a node that died: a session's owner, or one that only handed them on. */
class Outcomes {
  answered = 0;
  failed = 0;
  /** Neither an answer nor an error came in time. */
  hung = 0;

  async of(call: Promise<unknown>): Promise<void> {
    try {
      await call;
      this.answered += 1;
    } catch (error) {
      if (String(error).includes('Request timed out')) this.hung += 1;
      else this.failed += 1;
      // As a client would; and a balancer that has just lost a node is not to be blamed.
      await sleep(20);
    }
  }
}

const quantile = (times: readonly number[], part: number): number =>
  Math.round([...times].sort((a, b) => a - b)[Math.ceil(times.length * part) - 1] ?? NaN);

describe.each(DEATHS)(
  'kill -9 of a node whose death $death (docs/scaling.md)',
  ({ apart, options, kills, atLeast }) => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await startCluster({ apart, options });
    }, START_TIMEOUT);
    afterAll(() => cluster.close());

    test(
      `costs sessions with nothing in flight no error, and leaves no call without an answer or an error: ${kills} times under load`,
      async () => {
        const quiet = await cluster.clients(QUIET);
        const busy = await cluster.clients(BUSY);
        await Promise.all(quiet.map((client) => client.listens()));
        const owners = new Map<ClusterClient, Told>();
        const errors: string[] = [];
        const act = async (client: ClusterClient): Promise<void> => {
          try {
            owners.set(client, await client.add());
            await client.echo();
            await client.notify();
          } catch (error) {
            errors.push(String(error));
          }
        };
        const inFlight = new Outcomes();
        const calls = cluster.load(
          busy.map((client) => () => inFlight.of(client.slow(random.integer(200, 2_000), 50))),
        );
        const load = cluster.load(quiet.map((client) => () => act(client)));

        const recoveries: number[] = [];
        for (let n = 0; n < kills; n += 1) {
          await sleep(random.integer(100, 500));
          await load.stop();
          const node = cluster.nodes[random.integer(0, cluster.nodes.length)]!;
          const lost = quiet.filter((client) => owners.get(client)!.pid === node.pid);
          const from = performance.now();
          await node.kill();
          await Promise.all(
            quiet.map(async (client) => {
              const before = owners.get(client)!;
              await act(client);
              if (lost.includes(client)) recoveries.push(performance.now() - from);
              const epoch = before.epoch + (lost.includes(client) ? 1 : 0);
              const told = owners.get(client)!;
              if (told.epoch !== epoch) errors.push(`epoch ${told.epoch} after ${before.epoch} on ${before.pid}`);
            }),
          );
          load.resume();
          await node.restart();
          await cluster.ready();
        }
        await Promise.all([load.stop(), calls.stop()]);
        await Promise.all(quiet.map((client) => client.heardAll()));
        await Promise.all(busy.map((client) => client.echo()));
        const { answered, failed, hung } = inFlight;
        process.stdout.write(
          `kill, CHAOS_SEED=${SEED}: ${kills} kills, ${quiet.reduce((sum, { sent }) => sum + sent, 0)} adds, ` +
            `${recoveries.length} sessions claimed in ${quantile(recoveries, 0.5)} ms, ${quantile(recoveries, 0.99)} ms at p99, ` +
            `calls in flight: ${answered} answered, ${failed} failed, ${hung} hung\n`,
        );

        expect(tally(errors)).toEqual({});
        expect(tally([...quiet, ...busy].flatMap(({ wrong }) => wrong))).toEqual({});
        expect(hung).toBe(0);
        expect(answered).toBeGreaterThan(0);
        // Each death costs a client the one call that it has in flight, if any.
        expect(failed).toBeLessThanOrEqual(kills * BUSY);
        expect(recoveries.length).toBeGreaterThan(0);
        expect(Math.min(...recoveries)).toBeGreaterThan(atLeast);
        expect(Math.max(...recoveries)).toBeLessThan(HUNG);
        expect(cluster.nodes.map(({ health }) => health)).toEqual(cluster.nodes.map(() => 'alive'));
      },
      60_000 + kills * 20_000,
    );

    // A drained node gives its lease up, so that its death needs no proof.
    test.each(apart ? (['killed'] as const) : (['killed', 'drained'] as const))(
      'of all nodes that are asked at once for a session whose owner was %s, one claims it, and the others hand over to that one: its epoch grows by one',
      async (end) => {
        const [owner, ...others] = cluster.nodes;
        const sessions = await Promise.all(Array.from({ length: WANTED }, () => AnyNodeSession.open(owner!.url)));
        await (end === 'killed' ? owner!.kill() : owner!.terminate());
        const histories = await Promise.all(
          sessions.map(async (session) => {
            const asked = Array.from({ length: TIMES }, () => others.map(({ url }) => session.call(url, 'add'))).flat();
            const told = await Promise.allSettled(asked);
            const failed = told.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
            const answers = told.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
            const claims = new Set(
              answers.map(({ pid, epoch }) => `epoch ${epoch} on ${others.findIndex((o) => o.pid === pid)}`),
            );
            return `${claims.size} claims, at ${Math.max(...answers.map(({ epoch }) => epoch))} the latest, ${failed.length} failed ${failed.join()}`;
          }),
        );
        await owner!.restart();
        await cluster.ready();
        expect(tally(histories)).toEqual({ '1 claims, at 1 the latest, 0 failed ': WANTED });
      },
    );
  },
);
