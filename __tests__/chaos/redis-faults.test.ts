import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS, type ErrorName } from '../../src/errors.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { answerOf, RawSession } from '../support/raw-session.js';
import { connectRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { NodeProcess, type NodeInit } from './node-process.js';
import { Random, SEED } from './random.js';

/** `npm run chaos` sets more. */
const FAULTS = Number(process.env.CHAOS_FAULTS ?? 5);
const FLUSHES = Math.ceil(FAULTS / 5);
/** Sessions under each of the two routers. */
const SESSIONS = 6;
const RENEW_MS = 150;
/** How long after a fault a call must succeed again, in ms. No figure: on an idle machine it takes a fraction of that. */
const RECOVERY = 30_000;
/** The most that a fault and what follows it take, in ms: the store's time-out is waited for where Redis is silent for long. */
const LONGEST = 40_000;

const random = new Random(SEED);

let startNode: (init: NodeInit) => Promise<NodeProcess>;
let redis: RedisServer;
let proxy: FaultProxy;
let node: NodeProcess;
// Downloads Debian's package where no redis-server is there yet.
beforeAll(async () => {
  startNode = NodeProcess.build();
}, 300_000);
beforeEach(async () => {
  redis = await RedisServer.start({ appendOnly: true });
  proxy = await FaultProxy.start(redis.port);
  node = await startNode({ port: 0, redisUrl: `redis://127.0.0.1:${proxy.port}`, renewMs: RENEW_MS });
}, 300_000);
afterEach(async () => {
  await node.kill();
  await proxy.close();
  await redis.stop();
});

const MOUNTS = ['lasting', 'passing'] as const;
type Mount = (typeof MOUNTS)[number];

const urlOf = (mount: Mount): URL => new URL(`http://127.0.0.1:${node.port}/${mount}`);

/** Has something done again until Redis lets it. */
async function sooner<T>(what: () => Promise<T | undefined>): Promise<T> {
  for (const until = performance.now() + LONGEST; performance.now() < until; await sleep(10)) {
    const done = await what();
    if (done !== undefined) return done;
  }
  throw new Error(`nothing succeeded within ${LONGEST} ms`);
}

/** What came of a request: it was done, Redis did not let it, or (only where data is lost) its session is gone. */
type Outcome = 'done' | 'refused' | 'failed' | 'gone';

/** Everything that was answered, and whatever no client should ever see. */
class Answers {
  readonly outcomes: { [outcome in Outcome]: number } = { done: 0, refused: 0, failed: 0, gone: 0 };
  readonly wrong: string[] = [];
  /** What a call may fail with, besides being refused. */
  readonly #failures: readonly string[];

  constructor(failures: readonly ErrorName[]) {
    this.#failures = failures.map((name) => ERRORS[name].message);
  }

  expects(message: string): boolean {
    return this.#failures.some((failure) => message.includes(failure));
  }

  /** The handler's own `state.set` has failed, and so has its call. */
  failed(message: string): Outcome {
    if (!this.expects(message)) this.wrong.push(`the answer was: ${message}`);
    return this.note('failed');
  }

  note(outcome: Outcome): Outcome {
    this.outcomes[outcome] += 1;
    return outcome;
  }

  /** What every answer must be like; undefined for one that was done. */
  async refusal(response: Response): Promise<Outcome | undefined> {
    if (response.status === 200 || response.status === 202) return undefined;
    const text = await response.text();
    if (response.status === 503 && Number(response.headers.get('retry-after')) > 0) return this.note('refused');
    if (response.status === 404) return this.note('gone');
    this.wrong.push(`${response.status} ${text}`);
    return this.note('failed');
  }
}

/** A client that counts in its session's state, one call at a time, and remembers what it was promised. */
class Counter {
  /** What was sent last, and what was acknowledged last. */
  sent = 0;
  kept = 0;

  private constructor(
    readonly session: RawSession,
    readonly answers: Answers,
  ) {}

  static async open(mount: Mount, answers: Answers): Promise<Counter> {
    // Redis may be away for any of the two messages that open a session.
    const open = () => RawSession.open(urlOf(mount)).catch(refusedOnly(answers));
    return new Counter(await sooner(open), answers);
  }

  async count(): Promise<Outcome> {
    this.sent += 1;
    const response = await this.session.request(this.sent, 'set', { to: this.sent });
    const refusal = await this.answers.refusal(response);
    if (refusal !== undefined) return refusal;
    const answer = await answerOf(response);
    if (answer?.result === undefined) return this.answers.failed(answer?.error.message ?? 'none');
    const before = Number(answer.result.before ?? 0);
    if (before < this.kept || before >= this.sent) {
      this.answers.wrong.push(`${before} was there, ${this.kept} acknowledged, ${this.sent} sent`);
    }
    this.kept = this.sent;
    return this.answers.note('done');
  }

  /** The number is what was acknowledged last, or was sent later. */
  async check(): Promise<void> {
    const number = await sooner(async () => {
      const response = await this.session.request('check', 'get');
      if ((await this.answers.refusal(response)) !== undefined) return undefined;
      return Number((await answerOf(response))?.result.number ?? 0);
    });
    if (number < this.kept || number > this.sent) this.answers.wrong.push(`${this.kept} was lost: there is ${number}`);
  }

  /** Ends the session. Where Redis could not say that it had removed it, it may be gone when that is asked for again. */
  async end(): Promise<void> {
    let refusal = await this.answers.refusal(await this.session.terminate());
    while (refusal === 'refused') {
      await sleep(10);
      const response = await this.session.terminate();
      refusal = response.status === 404 ? undefined : await this.answers.refusal(response);
    }
  }
}

/** Takes a session that could not be opened for one to be tried again, if it was refused as it should be. */
function refusedOnly(answers: Answers): (error: Error) => undefined {
  return ({ message }) => {
    if (/ 503( |$)/.test(message) || answers.expects(message)) answers.note('refused');
    else answers.wrong.push(`opening: ${message}`);
    return undefined;
  };
}

/** What may become of Redis, for so many ms. */
const TROUBLES: Readonly<Record<string, (ms: number) => Promise<void>>> = {
  async killed(ms) {
    await redis.kill();
    await sleep(ms);
    await redis.restart();
  },
  async paused(ms) {
    redis.pause();
    await sleep(ms);
    redis.resume();
  },
  async cut(ms) {
    proxy.cutAfter = () => random.integer(1, 2_000);
    proxy.cut();
    await sleep(ms);
    proxy.cutAfter = () => Infinity;
    proxy.cut();
  },
  async held(ms) {
    proxy.hold();
    await sleep(ms);
    proxy.release();
  },
  async unreachable(ms) {
    proxy.refuse();
    await sleep(ms);
    proxy.accept();
  },
};

/** What clients do all the time, until `stop`; each waits for its answer before it asks again. */
class Load {
  #stopped = false;
  readonly #running: Promise<unknown>;

  constructor(clients: readonly (() => Promise<unknown>)[]) {
    this.#running = Promise.all(clients.map((act) => this.#repeat(act)));
    this.#running.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #repeat(act: () => Promise<unknown>): Promise<void> {
    while (!this.#stopped) {
      await act();
      await sleep(5);
    }
  }
}

/** So many clients of each router. */
const inBoth = <T>(count: number, make: (mount: Mount) => T): T[] =>
  MOUNTS.flatMap((mount) => Array.from({ length: count }, () => make(mount)));

/** How long it takes from now until both routers do what they are asked for. */
async function recovery(probes: readonly Counter[]): Promise<number> {
  const from = performance.now();
  await Promise.all(probes.map((probe) => sooner(async () => ((await probe.count()) === 'done' ? true : undefined))));
  return performance.now() - from;
}

test(
  `while Redis is killed, paused, cut off, held back and unreachable, nothing but 503 is answered, and nothing is lost`,
  async () => {
    const answers = new Answers(['storeUnavailable']);
    const open = (mount: Mount): Promise<Counter> => Counter.open(mount, answers);
    const counters = await Promise.all(inBoth(SESSIONS, open));
    const probes = await Promise.all(inBoth(1, open));
    const comeAndGo = async (mount: Mount): Promise<void> => {
      const counter = await open(mount);
      await counter.count();
      await counter.end();
    };
    const load = new Load([
      ...counters.map((counter) => () => counter.count()),
      ...inBoth(1, (mount) => () => comeAndGo(mount)),
    ]);

    const slowest = { after: 'nothing', ms: 0 };
    for (const [n, name] of random.shuffled(Object.keys(TROUBLES), FAULTS).entries()) {
      // Of a long run, some last longer than the router waits for its store.
      await TROUBLES[name]!(n % 20 === 19 ? 6_000 : random.integer(20, 500));
      const ms = await recovery(probes);
      if (ms > slowest.ms) Object.assign(slowest, { after: name, ms });
      await sleep(random.integer(0, 300));
    }
    await load.stop();
    const { outcomes, wrong } = answers;
    process.stdout.write(
      `redis-faults, CHAOS_SEED=${SEED}: ${FAULTS} faults, ${JSON.stringify(outcomes)}, slowest recovery ` +
        `${Math.round(slowest.ms)} ms, after Redis was ${slowest.after}\n`,
    );

    expect(node.health).toBe('alive');
    expect(wrong).toEqual([]);
    expect(outcomes).toMatchObject({ gone: 0 });
    expect(outcomes.refused).toBeGreaterThan(0);
    expect(slowest.ms).toBeLessThan(RECOVERY);

    // What was acknowledged is there for a process that knows nothing of it.
    const { port } = node;
    await node.kill();
    node = await startNode({ port, redisUrl: redis.url });
    await Promise.all([...counters, ...probes].map((counter) => counter.check()));
    expect(wrong).toEqual([]);
  },
  60_000 + FAULTS * LONGEST,
);

test(
  'when Redis forgets everything, its sessions get 404, and new ones work soon',
  async () => {
    const answers = new Answers(['storeUnavailable', 'sessionNotFound', 'sessionClosed']);
    let flushes = 0;
    const client = (mount: Mount) => {
      let counter: Counter | undefined;
      let flushesBefore = 0;
      return async (): Promise<void> => {
        if (counter === undefined) {
          flushesBefore = flushes;
          counter = await Counter.open(mount, answers);
        }
        if ((await counter.count()) !== 'gone') return;
        if (flushes === flushesBefore) answers.wrong.push('404, though nothing was lost');
        counter = undefined;
      };
    };
    const load = new Load(inBoth(SESSIONS, client));

    const flusher = await connectRedis(redis.url);
    let slowest = 0;
    while (flushes < FLUSHES) {
      await sleep(random.integer(50, 500));
      flushes += 1;
      await flusher.ask('FLUSHALL');
      const from = performance.now();
      await recovery(await Promise.all(inBoth(1, (mount) => Counter.open(mount, answers))));
      slowest = Math.max(slowest, performance.now() - from);
    }
    await load.stop();
    flusher.close();
    process.stdout.write(
      `redis-faults, CHAOS_SEED=${SEED}: ${FLUSHES} flushes, ${JSON.stringify(answers.outcomes)}, slowest recovery ` +
        `${Math.round(slowest)} ms\n`,
    );

    expect(node.health).toBe('alive');
    expect(answers.wrong).toEqual([]);
    expect(answers.outcomes.gone).toBeGreaterThan(0);
    expect(slowest).toBeLessThan(RECOVERY);
  },
  60_000 + FLUSHES * LONGEST,
);
