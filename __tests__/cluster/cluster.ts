import { once } from 'node:events';
import { createServer } from 'node:net';
import { FaultProxy } from '../support/fault-proxy.js';
import { HaProxy } from '../support/haproxy.js';
import { RedisServer, type RedisServerInit } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { Random, SEED } from '../chaos/random.js';
import { ClusterClient, Load } from './clients.js';
import { ClusterNode, type NodeOptions } from './node-process.js';

export interface ClusterInit {
  /** How many nodes. Default: 3. */
  readonly nodes?: number;
  readonly options?: NodeOptions;
  /** See `NodeInit`. */
  readonly apart?: boolean;
  /** See `NodeInit`. */
  readonly perRequest?: boolean;
  readonly redis?: RedisServerInit;
  /** The nodes reach Redis by a proxy, which may lead them to another one. Default: directly. */
  readonly proxied?: boolean;
}

/** How long the first start may take: it downloads Debian's packages where they are not there yet. */
export const START_TIMEOUT = 300_000;

/** For a test in which no lease expires: a busy machine must not cost a node its lease. */
export const LONG_LEASE: NodeOptions = {
  lease: 30_000,
  renewInterval: 1_500,
  fenceAfter: 20_000,
  claimTimeout: 40_000,
};

/** Nodes on a Redis of their own, behind a balancer that knows nothing of sessions. */
export class Cluster {
  redis: RedisServer;
  readonly proxy: FaultProxy | undefined;
  readonly balancer: HaProxy;
  readonly nodes: readonly ClusterNode[];
  /** By way of the balancer. */
  readonly url: URL;
  readonly #clients = new Set<ClusterClient>();
  readonly #loads = new Set<Load>();

  constructor(redis: RedisServer, proxy: FaultProxy | undefined, balancer: HaProxy, nodes: readonly ClusterNode[]) {
    this.redis = redis;
    this.proxy = proxy;
    this.balancer = balancer;
    this.nodes = nodes;
    this.url = new URL(`http://127.0.0.1:${balancer.port}/mcp`);
  }

  /** Until every node is ready, and the balancer knows. */
  async ready(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.ready()));
    await until('the balancer sends to all nodes', async () => (await this.balancer.up()).length === this.nodes.length);
  }

  /** A connected client of the SDK behind the balancer. */
  async client(url = this.url): Promise<ClusterClient> {
    const client = await ClusterClient.connect(url);
    this.#clients.add(client);
    return client;
  }

  clients(count: number): Promise<ClusterClient[]> {
    return Promise.all(Array.from({ length: count }, () => this.client()));
  }

  /** Begins what clients are to do all the time; it ends with the cluster at the latest, as where a test fails before. */
  load(acts: readonly (() => Promise<unknown>)[]): Load {
    const load = new Load(acts);
    this.#loads.add(load);
    return load;
  }

  /** The node whose process it is. */
  nodeOf(pid: number): ClusterNode {
    const found = this.nodes.find((node) => node.pid === pid);
    if (found === undefined) throw new Error(`no node has the process ID ${pid}`);
    return found;
  }

  /** Ends everything, whatever has failed before. */
  async close(): Promise<void> {
    for (const load of this.#loads) load.halt();
    const ended = await Promise.allSettled([
      ...[...this.#clients].map((client) => client.close()),
      ...this.nodes.map((node) => node.kill()),
      this.balancer.stop(),
      this.redis.stop(),
      this.proxy?.close(),
    ]);
    const failed = ended.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}

export async function startCluster({
  nodes = 3,
  options = {},
  apart = false,
  perRequest = false,
  redis: init = {},
  proxied = false,
}: ClusterInit = {}): Promise<Cluster> {
  const build = ClusterNode.build();
  const redis = await RedisServer.start(init);
  const proxy = proxied ? await FaultProxy.start(redis.port) : undefined;
  const redisUrl = proxy === undefined ? redis.url : `redis://127.0.0.1:${proxy.port}`;
  const ports: number[] = [];
  while (ports.length < nodes) ports.push(await nodePort(ports));
  const balancer = await HaProxy.start(ports).catch(async (error: unknown) => {
    await redis.stop();
    throw error;
  });
  const cluster = new Cluster(
    redis,
    proxy,
    balancer,
    ports.map((port) => build({ port, redisUrl, cluster: options, apart, perRequest })),
  );
  try {
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.ready();
    return cluster;
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

const random = new Random(SEED ^ process.pid);

/**
 * A free port below those that the system gives to outgoing connections (Linux: from 32,768): one of those would be taken by one
 * of the balancer's own connections while a node is away.
 */
export async function nodePort(taken: readonly number[]): Promise<number> {
  for (;;) {
    const port = random.integer(15_000, 32_000);
    if (taken.includes(port)) continue;
    const server = createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
