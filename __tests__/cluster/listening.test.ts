import { setTimeout as sleep } from 'node:timers/promises';
import type { EventStream } from '../support/event-stream.js';
import { subscribe } from '../support/per-request.js';
import { until } from '../support/waiting.js';
import { LONG_LEASE, START_TIMEOUT, startCluster, type Cluster } from './cluster.js';

// Clients of MCP 2026-07-28 that listen open their subscription again when a node dies (docs/two-eras.md, "Subscriptions").

/** `npm run check:long` sets more, and a bound. */
const LISTENING = Number(process.env.LISTENING ?? 100);
const IS_LONG = process.env.LISTENING !== undefined;
/** How long a client waits after a refused try, in ms. */
const BACK_OFF = 50;
/** Subscriptions that are opened at a time. */
const LOT = 50;

/** A client that listens, whatever happens to its stream. */
class Listener {
  /** How long each time took from the loss of a stream to the acknowledgement of the next, in ms. */
  readonly recoveries: number[] = [];
  isAcknowledged = false;
  readonly #url: URL;
  readonly #client = new AbortController();

  constructor(url: URL) {
    this.#url = url;
    void this.#run();
  }

  close(): void {
    this.#client.abort();
  }

  async #run(): Promise<void> {
    let lostAt: number | undefined;
    while (!this.#client.signal.aborted) {
      const stream = await this.#open().catch(() => undefined);
      if (stream === undefined) {
        await sleep(BACK_OFF);
        continue;
      }
      if (lostAt !== undefined) this.recoveries.push(performance.now() - lostAt);
      this.isAcknowledged = true;
      await stream.messages().catch(() => undefined);
      this.isAcknowledged = false;
      lostAt = performance.now();
    }
  }

  async #open(): Promise<EventStream> {
    const { signal } = this.#client;
    return (await subscribe(this.#url, { toolsListChanged: true }, { signal })).stream;
  }
}

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ options: LONG_LEASE, perRequest: true });
}, START_TIMEOUT);
afterAll(() => cluster.close());

test(`${LISTENING} open subscriptions: those of a node that was killed are all acknowledged again by the others`, async () => {
  const listeners: Listener[] = [];
  const acknowledged = (): number => listeners.filter(({ isAcknowledged }) => isAcknowledged).length;
  while (listeners.length < LISTENING) {
    for (let n = 0; n < LOT && listeners.length < LISTENING; n += 1) listeners.push(new Listener(cluster.url));
    await until('they are acknowledged', () => acknowledged() === listeners.length);
  }
  const [killed, ...others] = cluster.nodes;
  const held = await killed!.metric('mcp_per_request_servers');
  expect(held).toBeGreaterThan(0);
  await killed!.kill();
  const recovered = (): number => listeners.flatMap(({ recoveries }) => recoveries).length;
  await until('they are acknowledged again', () => recovered() >= held && acknowledged() === LISTENING);

  const open = await Promise.all(others.map((node) => node.metric('mcp_per_request_servers')));
  expect(open.reduce((sum, count) => sum + count, 0)).toBe(LISTENING);
  const slowest = Math.max(...listeners.flatMap(({ recoveries }) => recoveries));
  console.info(
    `${recovered()} of ${LISTENING} subscriptions were lost; acknowledged again within ${slowest.toFixed()} ms`,
  );
  if (IS_LONG) expect(slowest).toBeLessThan(2_000);
  for (const listener of listeners) listener.close();
  expect(others.map(({ health }) => health)).toEqual(others.map(() => 'alive'));
}, 120_000);
