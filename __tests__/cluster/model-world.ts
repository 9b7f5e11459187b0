import type fc from 'fast-check';
import { sessionHash } from '../../src/stores/session-event-store.js';
import { FakeClock } from '../support/fake-clock.js';
import type { Sent } from '../../src/cluster/port/node-port.js';
import { nodesKey, type Lease } from '../../src/cluster/membership/lease.js';
import {
  ModelNode,
  TIMING,
  type Message,
  type Answer,
  type OwnedSession,
  type Surroundings,
  type Watcher,
  type Wish,
} from './model-node.js';
import { ModelRedis } from './model-redis.js';

/**
 * How a connection between two nodes breaks, or that a proxy answers on it. The message may arrive all the same. `stalled`: all that the
 * other node says arrives late.
 */
export type Break = 'at once' | 'after it was done' | 'answered by another' | 'stalled';

const NODES = nodesKey('mcp:');
const NAMES = ['a', 'b', 'c'];

/** How much time passes at the end, in ms: a request is held for 10 s, and a claim takes less than that. */
const SETTLING = 25_000;

/** How long a 102 takes at most, in ms. */
const LATEST_102 = 0.9 * (TIMING.lease - TIMING.fenceAfter);

/** A node's process: it may be stopped (SIGSTOP), and everything that comes to it waits; or killed, and nothing comes any more. */
class Process {
  state: 'runs' | 'stopped' | 'dead' = 'runs';
  readonly #waiting: (() => void)[] = [];

  /** Does what comes to it as soon as it runs. */
  enter(act: () => void): void {
    if (this.state === 'runs') act();
    else if (this.state === 'stopped') this.#waiting.push(act);
  }

  resume(): void {
    if (this.state !== 'stopped') return;
    this.state = 'runs';
    for (const act of this.#waiting.splice(0)) act();
  }

  kill(): void {
    this.state = 'dead';
    this.#waiting.length = 0;
  }
}

/** A node's connection to Redis: what is sent on it arrives in order, and so do the replies. */
class Connection {
  readonly #scheduler: fc.Scheduler;
  readonly #execute: (command: string, ...args: string[]) => unknown;
  #arriving: Promise<unknown> = Promise.resolve();
  #replying: Promise<unknown> = Promise.resolve();

  constructor(scheduler: fc.Scheduler, execute: (command: string, ...args: string[]) => unknown) {
    this.#scheduler = scheduler;
    this.#execute = execute;
  }

  send([command, ...args]: readonly string[]): Promise<unknown> {
    const on = (what: string): Promise<void> => this.#scheduler.schedule(Promise.resolve(), `${what} ${command}`);
    const arrived = this.#arriving.then(() => on('to Redis:')).then(() => this.#execute(command!, ...args));
    const replied = Promise.allSettled([this.#replying, arrived]).then(() => on('from Redis:'));
    this.#arriving = arrived.catch(() => undefined);
    this.#replying = replied;
    return replied.then(() => arrived);
  }
}

/** Three nodes, one Redis, and clients; the order of all that happens is the scheduler's. */
export class ClusterWorld implements Watcher {
  readonly clock = new FakeClock();
  readonly redis = new ModelRedis(() => this.clock.now() + this.redisOffset);
  /** How far the wall clock of Redis' machine was stepped, in ms. */
  redisOffset = 0;
  readonly ids: string[] = [];
  readonly faults: string[] = [];
  /** When a session was served that another node owned as well. */
  readonly overlaps: number[] = [];
  /** When Redis last went back. */
  rolledBackAt = -Infinity;
  readonly answers: Answer[] = [];
  readonly #scheduler: fc.Scheduler;
  readonly #nodes: ModelNode[] = [];
  readonly #processes = new Map<ModelNode, Process>();
  /** The sessions that a client is deleting, and those that are deleted. */
  readonly #unwanted = new Set<string>();
  readonly #deleted = new Set<string>();
  readonly #owners = new Map<string, string>();
  readonly #epochs = new Map<string, number>();
  readonly #done = new Set<string>();
  /** What was appended to each session, and answered. */
  readonly #acknowledged = new Map<string, Set<string>>();
  readonly #breaks: Break[] = [];
  #redisAway = false;
  readonly #isolated = new Set<string>();
  #replica: ReturnType<ModelRedis['snapshot']> | undefined;
  #wishes = 0;
  #opened = 0;
  readonly #speeds: readonly number[];

  /** @param speeds - How fast the monotonic clock of each node runs. */
  constructor(scheduler: fc.Scheduler, speeds: readonly number[]) {
    this.#scheduler = scheduler;
    this.#speeds = speeds;
    for (const name of NAMES) this.#nodes.push(this.#start(name));
  }

  /** A world in which node 0 owns a session. */
  static async withSession(scheduler: fc.Scheduler, speeds: readonly number[]): Promise<ClusterWorld> {
    const world = new ClusterWorld(scheduler, speeds);
    await world.run(100);
    world.open(0);
    await world.run(100);
    return world;
  }

  node(n: number): ModelNode {
    return this.#nodes[n % this.#nodes.length]!;
  }

  open(n: number): void {
    const id = `session-${(this.#opened += 1)}`;
    const node = this.node(n);
    this.#process(node).enter(() => {
      void node.open(id).then((opened) => {
        if (opened) this.ids.push(id);
      });
    });
  }

  ask(n: number, which: number, method: 'POST' | 'DELETE'): void {
    const id = this.ids[which % this.ids.length];
    const node = this.node(n);
    if (id === undefined || this.#process(node).state === 'dead') return;
    if (method === 'DELETE') this.#unwanted.add(id);
    const wish = { id, method, name: `${method} ${(this.#wishes += 1)}` };
    this.#process(node).enter(() => {
      void node.ask(wish).then((answer) => this.#process(node).enter(() => this.#answered(wish, answer)));
    });
  }

  stop(n: number): void {
    const process = this.#process(this.node(n));
    if (process.state === 'runs') process.state = 'stopped';
  }

  resume(n: number): void {
    this.#process(this.node(n)).resume();
  }

  /** Another process takes the place of one that dies; it knows nothing of it. */
  kill(n: number): void {
    const node = this.node(n);
    this.#process(node).kill();
    this.#nodes[this.#nodes.indexOf(node)] = this.#start(node.name);
  }

  set redisAway(away: boolean) {
    this.#redisAway = away;
  }

  /** Cuts a node off from Redis, or no more. */
  isolate(n: number, isolated: boolean): void {
    if (isolated) this.#isolated.add(this.node(n).name);
    else this.#isolated.delete(this.node(n).name);
  }

  /** What a replica of Redis has received. */
  replicate(): void {
    this.#replica = this.redis.snapshot();
  }

  /** A fail-over to the replica: all that was written since is lost, though it was acknowledged. */
  rollBack(): void {
    if (this.#replica === undefined) return;
    this.redis.restore(this.#replica);
    this.rolledBackAt = this.clock.now();
  }

  /** How many nodes own a session, as they know it. */
  ownersOf(id: string): number {
    return this.#nodes.filter(({ sessions }) => sessions.get(id)?.membership.isValid === true).length;
  }

  /** Redis loses the lease of a node, or of all nodes. */
  loseLease(n: number | 'all'): void {
    if (n === 'all') this.redis.do('DEL', NODES);
    else this.redis.do('HDEL', NODES, this.node(n).node.membership.id);
  }

  /** Redis loses the renewals of a node. */
  loseRenewals(n: number): void {
    const { id } = this.node(n).node.membership;
    const text = this.redis.do('HGET', NODES, id) as string;
    this.redis.do('HSET', NODES, id, text.replace(/^\d+/, '0'));
  }

  /** Breaks the connection of the next message between nodes. */
  breakNext(how: Break): void {
    this.#breaks.push(how);
  }

  pass(ms: number): void {
    this.clock.advance(ms);
  }

  /** So many things happen. */
  async happen(times: number): Promise<void> {
    await turn();
    for (let n = 0; n < times && this.#scheduler.count() > 0; n += 1) {
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- waitNext waits for 50 promises, where one turn is cheaper
      await this.#scheduler.waitOne();
      await turn();
    }
  }

  /** Runs everything to its end: stopped nodes go on, and time passes. */
  async settle(): Promise<void> {
    this.#redisAway = false;
    this.#isolated.clear();
    for (const node of this.#nodes) this.#process(node).resume();
    await this.run(SETTLING);
  }

  /** Time passes, and all that can happen does. */
  async run(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    await this.happen(1_000);
    while (this.clock.now() < end) {
      this.clock.advance(Math.min(this.clock.untilNext, end - this.clock.now()));
      await this.happen(1_000);
    }
  }

  served(node: ModelNode, request: string, id: string, { epoch, owner: claimant, list }: OwnedSession): void {
    const fault = (what: string): void =>
      void this.faults.push(`${request} of ${id} at ${node.name}, epoch ${epoch}: ${what}`);
    const others = this.#nodes.filter((other) => other !== node && other.sessions.get(id)?.membership.isValid === true);
    if (others.length > 0) this.overlaps.push(this.clock.now());
    if (others.length > 0) fault(`owned by ${others.map(({ name }) => name).join()} as well`);
    const owner = this.#owners.get(`${id} ${epoch}`) ?? claimant;
    if (owner !== claimant) fault('another owner was in this epoch');
    this.#owners.set(`${id} ${epoch}`, claimant);
    if (epoch < (this.#epochs.get(id) ?? 0)) fault('a later epoch had begun');
    this.#epochs.set(id, epoch);
    if (this.#deleted.has(id)) fault('it was deleted');
    if (this.#done.has(request)) fault('it was carried out before');
    this.#done.add(request);
    const lost = [...(this.#acknowledged.get(id) ?? [])].filter((value) => !list.includes(value));
    if (lost.length > 0 && this.rolledBackAt === -Infinity) fault(`${lost.join()} were acknowledged, and are lost`);
  }

  /** The epochs, owners and numbers of what was said in a session, as its stream has them. */
  stream(id: string): { epoch: number; owner: string; n: number }[] {
    const entries = this.redis.do('XRANGE', `mcp:{${sessionHash(id)}}:events`, '-', '+') as [string, string[]][];
    return entries.map(([, fields]) => (JSON.parse(fields[3]!) as { params: never }).params);
  }

  #answered({ id, method, name }: Wish, answer: Answer): void {
    this.answers.push(answer);
    if (method === 'POST' && answer === 'served') {
      this.#acknowledged.set(id, (this.#acknowledged.get(id) ?? new Set()).add(name));
    }
    if (method === 'DELETE' && answer === 'served') this.#deleted.add(id);
    if (answer === 'gone' && !this.#unwanted.has(id)) this.faults.push(`${id} is gone, and no client deleted it`);
  }

  #process(node: ModelNode): Process {
    return this.#processes.get(node)!;
  }

  #start(name: string): ModelNode {
    const process = new Process();
    const connection = new Connection(this.#scheduler, (command, ...args) => {
      if (this.#redisAway || this.#isolated.has(name)) throw new Error('Redis is away');
      return this.redis.do(command, ...args);
    });
    /** What settles while the process stands still is heard of when it goes on. */
    const within = async <T>(promise: Promise<T>): Promise<T> => {
      await promise.catch(() => undefined);
      await new Promise<void>((resolve) => process.enter(resolve));
      return promise;
    };
    const speed = this.#speeds[NAMES.indexOf(name)]!;
    const surroundings: Surroundings = {
      now: () => speed * this.clock.now(),
      setTimeout: (callback, ms) => this.clock.setTimeout(() => process.enter(callback), ms / speed),
      clearTimeout: (timer) => this.clock.clearTimeout(timer),
      send: (...command) => within(connection.send(command)),
      deliver: (lease, message, onTaken, onBroken) =>
        within(this.#deliver(lease, message, () => void this.#inform(process, onTaken), onBroken)),
    };
    const node = new ModelNode(name, surroundings, this);
    this.#processes.set(node, process);
    return node;
  }

  async #deliver(...[lease, message, onTaken, onBroken]: Parameters<Surroundings['deliver']>): Promise<Sent> {
    const how = this.#breaks.shift();
    if (how === 'stalled') {
      const late = (): Promise<void> => new Promise((resolve) => this.clock.setTimeout(resolve, LATEST_102));
      const sent = await this.#arrive(lease, message, () => void late().then(onTaken));
      await late();
      return sent;
    }
    if (how !== undefined) onBroken();
    const broken: Sent = { outcome: 'unknown', mayAsk: how !== 'answered by another' };
    const arrived = this.#arrive(lease, message, how === undefined ? onTaken : () => undefined);
    if (how === undefined) return arrived;
    // The sender gets no answer, however the message ends at the other node.
    if (how === 'after it was done') await arrived;
    await this.#scheduler.schedule(Promise.resolve(), `broken: node ${lease.host}`);
    return broken;
  }

  /** A 102 arrives when the scheduler wants it to, and in less than `lease - fenceAfter` on a connection that is whole. */
  async #inform(process: Process, onTaken: () => void): Promise<void> {
    const arrived = this.#scheduler.schedule(Promise.resolve(), '102');
    await Promise.race([arrived, new Promise<void>((resolve) => this.clock.setTimeout(resolve, LATEST_102))]);
    process.enter(onTaken);
  }

  async #arrive(lease: Lease, message: Message, onTaken: () => void): Promise<Sent> {
    await this.#scheduler.schedule(Promise.resolve(), `to node ${lease.host}`);
    const node = this.#nodes.find(({ name }) => name === lease.host)!;
    const process = this.#process(node);
    const sent = await new Promise<Sent>((resolve) => {
      process.enter(() => void node.take(lease.id, message, onTaken).then(resolve));
    });
    await this.#scheduler.schedule(Promise.resolve(), `from node ${lease.host}`);
    return sent;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
