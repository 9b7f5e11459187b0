import fc from 'fast-check';
import { start, type Harness } from '../support/harness.js';
import { call, type PerRequestReply } from '../support/per-request.js';
import { until } from '../support/waiting.js';
import { answersTo, askedBy, textOf, type Asked } from './asked.js';
import { markingServer } from './marking-server.js';

const PRINCIPALS = Number(process.env.CROSSING_PRINCIPALS ?? 200);
/** Of each principal, at the same time. */
const CALLS = 2;
/** Requests in flight. */
const AT_ONCE = 60;

let harness: Harness;
let running = 0;

beforeAll(async () => {
  harness = await start({
    serverFactory: ({ principal }) => markingServer(principal),
    principal: (req) => req.headers['x-user'] as string | undefined,
    perRequest: { servers: 'principal', maxServers: 50, maxSuspended: 10_000, maxSuspendedPerPrincipal: 10_000 },
  });
});
afterAll(() => harness.close());

/** One call of a principal. Its requests have the same IDs, token and arguments as those of every other call. */
class Call {
  readonly #mark: string;
  readonly #user: string;
  readonly #call: string;

  constructor(user: number, call: number) {
    this.#user = `user-${user}`;
    this.#call = `call-${call}`;
    this.#mark = `${this.#user}/${this.#call}`;
  }

  /** Sends a round, and checks that all that is said in the reply is of this call. */
  async round(answered?: Asked, signal?: AbortSignal): Promise<PerRequestReply> {
    const params = answered && {
      requestState: answered.requestState,
      inputResponses: answersTo(answered, { [this.#mark]: this.#mark }),
    };
    running += 1;
    const reply = await call(
      harness.url,
      'work',
      {},
      {
        id: 1,
        capabilities: { elicitation: {} },
        meta: { progressToken: 't', 'io.modelcontextprotocol/logLevel': 'info' },
        headers: { 'x-user': this.#user, 'x-call': this.#call },
        ...(params && { params }),
        ...(signal && { signal }),
      },
    ).finally(() => (running -= 1));
    const marks = JSON.stringify(reply).match(/user-\d+\/call-\d+/g) ?? [];
    expect(new Set(marks)).toEqual(new Set([this.#mark]));
    return reply;
  }

  async first(): Promise<Asked> {
    const reply = await this.round();
    expect(reply.notifications.map(({ params }) => params)).toEqual([
      { progressToken: 't', progress: 1, message: this.#mark },
      { level: 'info', data: this.#mark },
    ]);
    return askedBy(reply);
  }

  async second(asked: Asked): Promise<Asked> {
    const reply = await this.round(asked);
    expect(reply.notifications).toMatchObject([{ params: { progressToken: 't', progress: 2 } }]);
    return askedBy(reply);
  }

  async third(asked: Asked): Promise<void> {
    const reply = await this.round(asked);
    expect(reply.notifications).toMatchObject([{ params: { level: 'info' } }]);
    expect(textOf(reply)).toBe([this.#mark, this.#mark, this.#mark].join(' '));
  }

  /** The client hangs up in its second round, or before it has the reply of the first. */
  async hangUp(asked?: Asked): Promise<void> {
    const client = new AbortController();
    const gone = this.round(asked, client.signal).catch(() => undefined);
    client.abort();
    await gone;
  }
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

describe('servers that a principal\'s requests share (docs/transport.md, "MCP 2026-07-28")', () => {
  test(`${PRINCIPALS} principals with ${CALLS} calls each at once, under equal IDs and tokens, get nothing of one another`, async () => {
    const calls = Array.from({ length: PRINCIPALS * CALLS }, (_, n) => new Call(Math.floor(n / CALLS), n % CALLS));
    const suspended = new Map<Call, Asked>();
    await each(calls, async (one) => void suspended.set(one, await one.first()));
    await each([...suspended].reverse(), async ([one, asked]) => void suspended.set(one, await one.second(asked)));
    await each([...suspended], ([one, asked]) => one.third(asked));
  });

  const planned = fc.record({
    user: fc.nat(3),
    turns: fc.array(fc.nat(100), { minLength: 3, maxLength: 3 }),
    end: fc.constantFrom('answers', 'hangs up at once', 'hangs up later'),
  });

  test('keep calls apart in whatever order they are answered and given up (property)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(planned, { minLength: 1, maxLength: 12 }), async (plans) => {
        const steps = plans.flatMap(({ user, turns, end }, n) => {
          const one = new Call(user, n);
          let asked: Asked | undefined;
          const work = [
            async () => (end === 'hangs up at once' ? one.hangUp() : void (asked = await one.first())),
            async () => {
              if (asked === undefined) return;
              if (end === 'hangs up later') return one.hangUp(asked);
              asked = await one.second(asked);
            },
            async () => (asked === undefined || end !== 'answers' ? undefined : one.third(asked)),
          ];
          let last = Promise.resolve();
          return work.map((step, k) => ({
            at: turns.slice(0, k + 1).reduce((sum, turn) => sum + turn, 0),
            run: () => (last = last.then(step)),
          }));
        });
        await Promise.all(steps.sort((a, b) => a.at - b.at).map(({ run }) => run()));
        await until('no request is in flight', () => running === 0);
      }),
      { numRuns: 15 },
    );
  });
});
