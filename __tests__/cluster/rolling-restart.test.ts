import { Random, SEED } from '../chaos/random.js';
import { tally, type ClusterClient } from './clients.js';
import { LONG_LEASE, START_TIMEOUT, startCluster, type Cluster } from './cluster.js';

/** `npm run chaos` sets more. */
const ROUNDS = Number(process.env.CLUSTER_ROLLING ?? 1);
const CLIENTS = 12;
/** Clients with calls longer than the time until a node gets SIGTERM, so that each node has some in flight. */
const SLOW = 6;

const random = new Random(SEED);

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ options: LONG_LEASE });
}, START_TIMEOUT);
afterAll(() => cluster.close());

test(
  `a rolling restart of all nodes under load, each drained on SIGTERM, is seen by no client: 0 errors, calls in flight included (docs/scaling.md)`,
  async () => {
    const clients = await cluster.clients(CLIENTS + SLOW);
    await Promise.all(clients.map((client) => client.listens()));
    const errors: string[] = [];
    const passed: ClusterClient[] = [];
    let calls = 0;
    const noted = (act: () => Promise<unknown>) => async (): Promise<void> => {
      calls += 1;
      await act().catch((error: unknown) => void errors.push(String(error)));
    };
    const comeAndGo = async (): Promise<void> => {
      const client = await cluster.client();
      passed.push(client);
      await client.listens();
      await client.add();
      await client.end();
    };
    const load = cluster.load([
      ...clients.slice(0, CLIENTS).map((client) =>
        noted(async () => {
          await Promise.all([client.add(), client.echo(), client.ask()]);
          await client.notify();
        }),
      ),
      ...clients.slice(CLIENTS).map((client) => noted(() => client.slow(random.integer(500, 1_500), 50))),
      noted(comeAndGo),
    ]);
    for (let n = 0; n < ROUNDS * cluster.nodes.length; n += 1) {
      const node = cluster.nodes[n % cluster.nodes.length]!;
      await node.terminate();
      await node.start();
      await cluster.ready();
    }
    await load.stop();
    await Promise.all(clients.map((client) => client.heardAll()));
    process.stdout.write(
      `rolling-restart, CHAOS_SEED=${SEED}: ${ROUNDS * cluster.nodes.length} restarts, ${calls} rounds of calls, ` +
        `${passed.length} sessions opened and ended\n`,
    );

    const all = [...clients, ...passed];
    const troubles = {
      errors: tally(errors),
      wrong: tally(all.flatMap(({ wrong }) => wrong)),
      complaints: tally(all.flatMap(({ complaints }) => complaints)),
    };
    expect(troubles).toEqual({ errors: {}, wrong: {}, complaints: {} });
    expect(passed.length).toBeGreaterThan(0);
  },
  60_000 + ROUNDS * 240_000,
);
