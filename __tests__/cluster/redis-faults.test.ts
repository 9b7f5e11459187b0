import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS } from '../../src/errors.js';
import { answerOf } from '../support/raw-session.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { Random, SEED } from '../chaos/random.js';
import { AnyNodeSession } from './any-node.js';
import { tally } from './clients.js';
import { START_TIMEOUT, startCluster, type Cluster } from './cluster.js';

/** `npm run chaos` sets more. */
const FAULTS = Number(process.env.CLUSTER_FAULTS ?? 4);
const SESSIONS = 8;
/** How long after a fault every session must work again, in ms. No figure: on an idle machine it takes a fraction of that. */
const RECOVERY = 30_000;
/** Longer than a node goes without its lease. */
const STALL = 5_000;
const LONGEST = 40_000;

const random = new Random(SEED);

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ redis: { appendOnly: true }, proxied: true });
}, START_TIMEOUT);
afterAll(() => cluster.close());

/** The latest, and how often everything was forgotten so far. */
let fault = 'none';
let flushes = 0;

const FAULT: Readonly<Record<string, () => Promise<void>>> = {
  async killed() {
    await cluster.redis.kill();
    await sleep(random.integer(100, 1_000));
    await cluster.redis.restart();
  },
  async stalled() {
    cluster.redis.pause();
    await sleep(STALL);
    cluster.redis.resume();
  },
  /** A fail-over without loss: both are unreachable until the replica has all data. */
  async promoted() {
    const old = cluster.redis;
    const replica = await RedisServer.start({ appendOnly: true });
    const [from, to] = [await connectRedis(old.url), await connectRedis(replica.url)];
    await to.ask('REPLICAOF', '127.0.0.1', String(old.port));
    const field = async ({ ask }: ConnectedRedis, name: string): Promise<string | undefined> =>
      new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(String(await ask('INFO', 'replication')))?.[1];
    await until('it is a replica', async () => (await field(to, 'master_link_status')) === 'up');
    cluster.proxy!.refuse();
    await until('it has all', async () => {
      return (await field(to, 'slave_repl_offset')) === (await field(from, 'master_repl_offset'));
    });
    await to.ask('REPLICAOF', 'NO', 'ONE');
    cluster.redis = replica;
    for (const { close } of [from, to]) close();
    await old.stop();
    cluster.proxy!.redirect(replica.port);
    cluster.proxy!.accept();
  },
  async flushed() {
    const redis = await connectRedis(cluster.redis.url);
    flushes += 1;
    await redis.ask('FLUSHALL');
    redis.close();
  },
};

/**
 * What came of an add: done; refused, with nothing done; failed, by its handler's state; broken off, with the node that fenced
 * itself while it answered; or gone, with all that Redis has lost.
 */
type Outcome = 'done' | 'refused' | 'failed' | 'broken' | 'gone';

const outcomes: { [outcome in Outcome]: number } = { done: 0, refused: 0, failed: 0, broken: 0, gone: 0 };
const wrong: string[] = [];
/** How resumes were answered, by status. */
const resumed = new Map<number, number>();

/** The errors that a handler or its client gets when the session is no longer on this node. */
const FAILURES = ['storeUnavailable', 'sessionClosed', 'outcomeUnknown'] as const;
const isFailure = (text: string): boolean => FAILURES.some((name) => text.includes(ERRORS[name].message));

/** A client that counts, asks every node in turn and the balancer too, and opens another session when its own is lost. */
class Counter {
  #session: AnyNodeSession | undefined;
  #sent = 0;
  #counted = 0;
  #flushesBefore = 0;
  #lastEventId: string | undefined;
  #turn = random.integer(0, 100);

  async add(): Promise<Outcome> {
    const outcome = await this.#add();
    outcomes[outcome] += 1;
    return outcome;
  }

  async #add(): Promise<Outcome> {
    const urls = [cluster.url, ...cluster.nodes.map(({ url }) => url)];
    const url = urls[(this.#turn += 1) % urls.length]!;
    if (this.#session === undefined) {
      this.#flushesBefore = flushes;
      this.#lastEventId = undefined;
      this.#session = await AnyNodeSession.open(url).catch((error: unknown) => this.#notOpened(String(error)));
      this.#sent = this.#counted = 0;
      if (this.#session === undefined) return 'refused';
    }
    this.#sent += 1;
    const response = await this.#session.request(url, 'add').catch((error: unknown) => this.#brokenOff(error));
    if (response === undefined) return 'failed';
    const text = await response
      .clone()
      .text()
      .catch(() => undefined);
    // The reply had begun at a node that lost the session.
    if (text === undefined) return 'broken';
    if (response.status === 503) return this.#refused(response, url);
    if (response.status === 404) return this.#gone();
    return this.#counts(response.status, text, await answerOf(response));
  }

  /**
   * Asks for what comes after the last event of an answer: there is nothing (204), or what could not be stored is told of (200); 503;
   * and 404 or 400 only when all was lost.
   */
  async resume(): Promise<void> {
    if (this.#session === undefined || this.#lastEventId === undefined) return;
    const urls = [cluster.url, ...cluster.nodes.map(({ url }) => url)];
    const url = urls[(this.#turn += 1) % urls.length]!;
    const flushesThen = this.#flushesBefore;
    const headers = { 'last-event-id': this.#lastEventId };
    const response = await this.#session.get(url, headers).catch((error: unknown) => this.#brokenOff(error));
    await response?.body?.cancel();
    const status = response?.status ?? 0;
    resumed.set(status, (resumed.get(status) ?? 0) + 1);
    const lost = flushes > flushesThen;
    if (![200, 204, 503].includes(status) && !(lost && [400, 404].includes(status)))
      wrong.push(`${fault}: a resume is ${status}`);
  }

  #notOpened(message: string): undefined {
    // Any of the two messages that open a session may be refused, and the data be lost between them.
    const expected = /\b503\b/.test(message) || (/\b404\b/.test(message) && flushes > this.#flushesBefore);
    if (!expected) wrong.push(`opening: ${message}`);
    return undefined;
  }

  #brokenOff(error: unknown): undefined {
    const { cause } = error as { cause?: Error };
    wrong.push(`${fault}: broken off without an answer, ${cause?.message ?? String(error)}`);
  }

  #refused({ headers }: Response, url: URL): Outcome {
    // The balancer says so too while no node is ready; it does not know when that will be.
    const retryAfter = Number(headers.get('retry-after'));
    if (url !== cluster.url && !(retryAfter > 0)) wrong.push('503 without Retry-After');
    return 'refused';
  }

  #gone(): Outcome {
    if (flushes === this.#flushesBefore) wrong.push('404, though nothing was lost');
    this.#session = undefined;
    return 'gone';
  }

  #counts(status: number, text: string, answer: Awaited<ReturnType<typeof answerOf>>): Outcome {
    const { content, isError } = (answer?.result ?? {}) as { content?: [{ text: string }]; isError?: boolean };
    if (status !== 200 || content === undefined || isError === true) {
      // A handler that saves its state gets the error that the session's record is lost.
      const lost = flushes > this.#flushesBefore && text.includes(ERRORS.sessionNotFound.message);
      if (status !== 200 || !(isFailure(text) || lost)) wrong.push(`${status} ${text}`);
      return 'failed';
    }
    const { count } = JSON.parse(content[0].text) as { count: number };
    if (count <= this.#counted || count > this.#sent) {
      // A session that was claimed when all was lost would be another one under its ID; it must be 404.
      wrong.push(`${count} came after ${this.#counted}, and ${this.#sent} were sent`);
    }
    this.#counted = count;
    this.#lastEventId = [...text.matchAll(/^id: (.+)$/gm)].at(-1)?.[1];
    return 'done';
  }
}

/** How long it takes from now until each counter has counted. */
async function recovery(counters: readonly Counter[]): Promise<number> {
  const from = performance.now();
  const counted = async (counter: Counter): Promise<void> => {
    while ((await counter.add()) !== 'done') {
      if (performance.now() - from > LONGEST) throw new Error(`nothing succeeded within ${LONGEST} ms`);
      await sleep(10);
    }
  };
  await Promise.all(counters.map(counted));
  return performance.now() - from;
}

test(
  `while Redis is killed, stalled for ${STALL} ms, flushed, and its replica promoted, ${FAULTS} times, nothing but 503 is answered, 404 only after data loss, and all works again within ${RECOVERY} ms (docs/scaling.md)`,
  async () => {
    const counters = Array.from({ length: SESSIONS }, () => new Counter());
    const probes = Array.from({ length: cluster.nodes.length + 1 }, () => new Counter());
    await recovery([...counters, ...probes]);
    const load = cluster.load(
      counters.map((counter) => async () => {
        await counter.add();
        await counter.resume();
        await sleep(5);
      }),
    );
    const took: string[] = [];
    let slowest = 0;
    for (const name of random.shuffled(Object.keys(FAULT), FAULTS)) {
      fault = name;
      await FAULT[name]!();
      const ms = await recovery(probes);
      took.push(`${name} ${Math.round(ms)} ms`);
      slowest = Math.max(slowest, ms);
      await cluster.ready();
      await sleep(random.integer(0, 500));
    }
    await load.stop();
    await recovery(counters);
    process.stdout.write(
      `cluster, redis-faults, CHAOS_SEED=${SEED}: ${JSON.stringify(outcomes)}, resumes ${JSON.stringify([...resumed])}, recovery after ${took.slice(-10).join(', ')}\n`,
    );

    expect(tally(wrong)).toEqual({});
    expect(outcomes.refused).toBeGreaterThan(0);
    // Each fault may fence every node once, and cost each client the one reply that has begun.
    expect(outcomes.broken).toBeLessThanOrEqual(FAULTS * (counters.length + probes.length));
    expect(resumed.get(204)).toBeGreaterThan(0);
    expect(slowest).toBeLessThan(RECOVERY);
    expect(cluster.nodes.map(({ health }) => health)).toEqual(cluster.nodes.map(() => 'alive'));
  },
  60_000 + FAULTS * LONGEST,
);
