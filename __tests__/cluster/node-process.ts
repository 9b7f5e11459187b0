import type { ClusterOptions } from '../../src/options/options.js';
import { ForkedProgram } from '../support/forked-program.js';
import { soon, until } from '../support/waiting.js';
import { bundle, STANDALONE } from '../support/program.js';

/** What `cluster` takes besides what all nodes of a test have alike. */
export type NodeOptions = Partial<Omit<ClusterOptions, 'redis' | 'secret'>>;

export interface NodeInit {
  readonly port: number;
  readonly redisUrl: string;
  /** The Redis that the effects of histories go to. Default: the node has no tools for histories. */
  readonly effectsUrl?: string;
  /** Whether an event store in Redis keeps each answer before it is sent. Default: true. */
  readonly storesEvents?: boolean;
  readonly cluster?: NodeOptions;
  /** The nodes know of each other what they would on machines of their own. Default: false. */
  readonly apart?: boolean;
  /** Whether it serves clients of MCP 2026-07-28. Default: false. */
  readonly perRequest?: boolean;
}

/** What the nodes write: to look into a failure, which shows with `health`. */
const LOG_LEVEL = process.env.CLUSTER_LOG_LEVEL ?? 'silent';

/** A node of a cluster, a process of its own; the same object whatever becomes of that process. */
export class ClusterNode {
  readonly url: URL;
  readonly #file: string;
  readonly #init: NodeInit;
  readonly #env: NodeJS.ProcessEnv;
  #program: ForkedProgram | undefined;

  /** @returns Makes a node. `env` is added to the environment of its process. */
  static build(): (init: NodeInit, env?: NodeJS.ProcessEnv) => ClusterNode {
    const file = bundle('__tests__/cluster/node.ts', STANDALONE);
    return (init, env = {}) => new ClusterNode(file, init, env);
  }

  private constructor(file: string, init: NodeInit, env: NodeJS.ProcessEnv) {
    this.#file = file;
    this.#init = init;
    this.#env = env;
    this.url = new URL(`http://127.0.0.1:${init.port}/mcp`);
  }

  get port(): number {
    return this.#init.port;
  }

  get pid(): number {
    return this.#program!.child.pid!;
  }

  /** What its process has written so far. */
  get said(): string {
    return this.#program!.said;
  }

  /** Whether it runs, and its output if it has ended: an uncaught exception or an unhandled rejection. */
  get health(): string {
    return this.#program!.health;
  }

  /** Starts its process, which ends with this one; it listens when this resolves, and may not have joined the cluster yet. */
  async start(): Promise<void> {
    const env = { ...this.#env, PATH: process.env.PATH, LOG_LEVEL, CLUSTER_NODE: JSON.stringify(this.#init) };
    [this.#program] = await ForkedProgram.start(this.#file, [], env);
  }

  /** Until it has joined the cluster, and takes new sessions. */
  async ready(): Promise<void> {
    await until('the node is ready', async () => (await fetch(new URL('/ready', this.url))).status === 200);
  }

  /** Starts it again on the same port, as a process manager does. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
    await this.ready();
  }

  /** Ends it by SIGKILL, also while it is paused. */
  async kill(): Promise<void> {
    await this.#program?.kill();
  }

  /** Has it end in peace. */
  async terminate(): Promise<void> {
    const { child, exited } = this.#program!;
    child.kill('SIGTERM');
    await soon('the node has ended in peace', exited);
    if (child.exitCode !== 0) throw new Error(this.health);
  }

  /** Stops it where it stands: it knows nothing of the time that passes until `resume`. */
  pause(): void {
    this.#program!.child.kill('SIGSTOP');
  }

  resume(): void {
    this.#program!.child.kill('SIGCONT');
  }

  /** Its wall clock, in ms since 1970. */
  async wallTime(): Promise<number> {
    return Date.parse((await fetch(new URL('/ready', this.url))).headers.get('date')!);
  }

  /** What the node itself says of the sessions of all nodes. */
  async sessions(): Promise<readonly { readonly id: string }[]> {
    const response = await fetch(new URL('/sessions', this.url));
    return (await response.json()) as { readonly id: string }[];
  }

  /** The sum of a metric's samples. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(new URL('/metrics', this.url))).text();
    const samples = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}
