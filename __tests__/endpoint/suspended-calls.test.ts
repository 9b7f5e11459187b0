import { start, type Harness } from '../support/harness.js';
import { call, send, type PerRequest } from '../support/per-request.js';
import { FakeClock } from '../support/fake-clock.js';
import { until } from '../support/waiting.js';
import type { McpRouterOptions } from '../../src/index.js';
import { accept, answersTo, askedBy, textOf, type Asked } from './asked.js';
import { askingServer } from './asking-server.js';

// The rules are those of MCP 2026-07-28, docs/specification/2026-07-28/basic/patterns/mrtr.

type Fields = Readonly<Record<string, unknown>>;

const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const UNKNOWN = { code: -32602, message: expect.stringContaining('requestState') as string };

const seen: string[] = [];
const clock = new FakeClock();
let harness: Harness;
let nextId = 1;

async function serve(options: Partial<McpRouterOptions> = {}): Promise<void> {
  harness = await start({
    serverFactory: () => askingServer({ seen }),
    perRequest: true,
    principal: (req) => req.headers['x-user'] as string | undefined,
    clock,
    ...options,
  });
}

afterEach(async () => {
  seen.splice(0);
  await harness.close();
});

const ask = (name: string, args: Fields = {}, more: PerRequest = {}) =>
  call(harness.url, name, args, { id: (nextId += 1), capabilities, ...more });
/** Repeats a call with answers. */
const retry = (
  name: string,
  { requestState }: Pick<Asked, 'requestState'>,
  inputResponses: unknown,
  args: Fields = {},
  more: PerRequest = {},
) => ask(name, args, { ...more, params: { requestState, inputResponses } });

describe('a handler of an SDK v1 server that asks its client', () => {
  beforeEach(() => serve());

  test('waits for the retry with the answer, and the retry gets its result', async () => {
    const asked = askedBy(await ask('once'));
    expect(textOf(await retry('once', asked, answersTo(asked, { only: 'Bob' })))).toBe('Bob');
  });

  test('names its server in what asks the client, as in every result (basic/index, "Per-response protocol fields")', async () => {
    const { result } = await ask('once');
    expect(result).toMatchObject({
      resultType: 'input_required',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'asking', version: '1.0.0' } },
    });
  });

  test('asks concurrent questions of every kind in one round', async () => {
    const asked = askedBy(await ask('three'));
    expect([...asked.keys.keys()].sort()).toEqual(['name', 'roots/list', 'sampling/createMessage']);
    const sampled = { role: 'assistant', content: { type: 'text', text: 'x' }, model: 'm' };
    const answers = {
      ...answersTo(asked, { name: 'Bob' }),
      [asked.keys.get('sampling/createMessage') ?? '']: sampled,
      [asked.keys.get('roots/list') ?? '']: { roots: [] },
    };
    expect(textOf(await retry('three', asked, answers))).toBe('Bob text 0');
  });

  test('asks in several rounds, each with a state of its own', async () => {
    const first = askedBy(await ask('twice'));
    const second = askedBy(await retry('twice', first, answersTo(first, { first: 'a' })));
    expect(second.requestState).not.toBe(first.requestState);
    expect(textOf(await retry('twice', second, answersTo(second, { second: 'b' })))).toBe('a b');
  });

  test('of a prompt waits like one of a tool', async () => {
    const params = { name: 'about' };
    const asked = askedBy(await send(harness.url, 'prompts/get', { params, capabilities }));
    const more = { requestState: asked.requestState, inputResponses: answersTo(asked, { 'About what?': 'tea' }) };
    const { result } = await send(harness.url, 'prompts/get', { params: { ...params, ...more }, capabilities });
    expect(result).toMatchObject({ messages: [{ content: { text: 'tea' } }], resultType: 'complete' });
  });

  test.each([[['left', 'right']], [['right', 'left']]])('gets each answer, in whatever order: %j', async (order) => {
    const asked = askedBy(await ask('both'));
    const values = Object.fromEntries(order.map((message) => [message, message.toUpperCase()]));
    expect(textOf(await retry('both', asked, answersTo(asked, values)))).toBe('LEFT RIGHT');
  });

  test('is asked again for an answer that is missing, and ignores answers to questions that were not asked', async () => {
    const asked = askedBy(await ask('both'));
    const answers = { ...answersTo(asked, { right: 'R' }), other: accept('x'), ['__proto__']: accept('y') };
    const again = askedBy(await retry('both', asked, answers));
    expect([...again.keys]).toEqual([['left', asked.keys.get('left')]]);
    expect(textOf(await retry('both', again, answersTo(again, { left: 'L' })))).toBe('L R');
  });

  test.each([[null], [7], ['x'], [[]], [{ __proto__: null, constructor: {} }]])(
    'is asked again where the answers are %j',
    async (answers) => {
      const asked = askedBy(await ask('once'));
      const again = askedBy(await retry('once', asked, answers));
      expect(textOf(await retry('once', again, answersTo(again, { only: 'x' })))).toBe('x');
    },
  );

  test('starts again on a retry without state, and takes the answers to equal questions', async () => {
    const asked = askedBy(await ask('both'));
    const inputResponses = answersTo(asked, { left: 'L', right: 'R' });
    expect(textOf(await ask('both', {}, { params: { inputResponses } }))).toBe('L R');
    const first = askedBy(await ask('greet', { greeting: 'Hi' }));
    const key = first.keys.get('Name?') ?? '';
    const other = await ask('once', {}, { params: { inputResponses: { [key]: accept('of another question') } } });
    expect([...askedBy(other).keys.keys()]).toEqual(['only']);
  });

  test('gets nothing from a retry of another principal, tool, arguments or state', async () => {
    const asked = askedBy(await ask('greet', { greeting: 'Hi' }, { headers: { 'x-user': 'alice' } }));
    const answers = answersTo(asked, { 'Name?': 'Bob' });
    const alice = { headers: { 'x-user': 'alice' } };
    const hi = { greeting: 'Hi' };
    const [id = '', round = ''] = asked.requestState.split('.');
    const wrong = [
      retry('greet', asked, answers, hi, { headers: { 'x-user': 'bob' } }),
      retry('greet', asked, answers, hi),
      retry('once', asked, answers, hi, alice),
      retry('greet', asked, answers, { greeting: 'Ho' }, alice),
      ...[`${id}.0`, `${id}.2`, `${id}.01x`, `${id.slice(1)}A.${round}`, id, `${asked.requestState}\n`].map((state) =>
        retry('greet', { requestState: state }, answers, hi, alice),
      ),
    ];
    for (const reply of await Promise.all(wrong)) expect(reply.error).toEqual(UNKNOWN);
    expect(textOf(await retry('greet', asked, answers, hi, alice))).toBe('Hi Bob');
    expect((await retry('greet', asked, answers, hi, alice)).error).toEqual(UNKNOWN);
  });

  test.each([
    ['text/event-stream', 'text/event-stream'],
    ['application/json', 'application/json'],
    ['application/json, text/event-stream', 'application/json'],
  ])('of an unknown state is refused in the form that %s accepts', async (accept, type) => {
    const reply = await retry('once', { requestState: 'x.1' }, {}, {}, { headers: { accept } });
    expect(reply).toMatchObject({ status: 200, error: UNKNOWN });
    expect(reply.headers.get('content-type')).toBe(type);
    const counted = 'mcp_http_responses_total{status="200",error="invalidRequestState"} 1';
    expect(await (await fetch(`${harness.url.href}/metrics`)).text()).toContain(counted);
  });

  test('gives the same round again to a retry that is repeated, as its reply may be lost', async () => {
    const first = askedBy(await ask('twice'));
    const answers = answersTo(first, { first: 'a' });
    const second = askedBy(await retry('twice', first, answers));
    expect(askedBy(await retry('twice', first, answers))).toEqual(second);
    expect((await retry('twice', first, answersTo(first, { first: 'other' }))).error).toEqual(UNKNOWN);
    expect(textOf(await retry('twice', second, answersTo(second, { second: 'b' })))).toBe('a b');
  });

  test('answers a retry that comes twice at once in both replies, or refuses the one that came too late', async () => {
    const asked = askedBy(await ask('once'));
    const answers = answersTo(asked, { only: 'x' });
    const replies = await Promise.all([retry('once', asked, answers), retry('once', asked, answers)]);
    expect(replies.some((reply) => textOf(reply) === 'x')).toBe(true);
    for (const reply of replies) expect(textOf(reply) === 'x' || reply.error?.code === -32602).toBe(true);
  });

  test('keeps its result where it ends before the retry', async () => {
    const asked = askedBy(await ask('impatient'));
    await until('the question has timed out', async () => {
      const reply = await retry('impatient', asked, {});
      if (reply.result?.resultType === 'input_required') return false;
      expect(textOf(reply)).toBe('nobody answered');
      return true;
    });
  });

  test('reports progress to the token of the current round, and logs at its level', async () => {
    const meta = (progressToken: string, level: string) => ({
      meta: { progressToken, 'io.modelcontextprotocol/logLevel': level },
    });
    const first = await ask('busy', {}, meta('t1', 'debug'));
    expect(first.notifications.map(({ params }) => params)).toEqual(
      [1, 2].map((progress) => ({ progressToken: 't1', progress })),
    );
    const asked = askedBy(first);
    const second = await retry('busy', asked, answersTo(asked, { 'more?': 'x' }), {}, meta('t2', 'error'));
    expect(second.notifications.map(({ params }) => params)).toEqual([
      ...[3, 4].map((progress) => ({ progressToken: 't2', progress })),
      { level: 'error', data: 'high' },
    ]);
  });

  test('is aborted when no answer comes for `suspendTtl`, and its state is unknown then', async () => {
    const asked = askedBy(await ask('wait'));
    clock.advance(600_000);
    await until('it is aborted', () => seen.includes('aborted'));
    expect((await retry('wait', asked, answersTo(asked, { 'still there?': 'x' }))).error).toEqual(UNKNOWN);
  });

  test('is waited for by a drain, which takes its retry', async () => {
    const asked = askedBy(await ask('once'));
    const drained = harness.router.drain(60_000);
    expect((await ask('once')).status).toBe(503);
    expect(textOf(await retry('once', asked, answersTo(asked, { only: 'x' })))).toBe('x');
    await drained;
  });

  test('is aborted when the router closes', async () => {
    await ask('wait');
    await harness.router.close();
    expect(seen).toContain('aborted');
  });
});

describe('the bounds of suspended calls', () => {
  const REFUSED = { status: 503, error: { code: -32603 } };

  test('refuse one more call of a principal, and none of other principals', async () => {
    await serve({ perRequest: { maxSuspendedPerPrincipal: 1, maxSuspended: 3, maxSuspendedAnonymous: 1 } });
    const alice = { headers: { 'x-user': 'alice' } };
    const asked = askedBy(await ask('wait', {}, alice));
    const refused = await ask('wait', {}, alice);
    expect(refused).toMatchObject(REFUSED);
    expect(refused.headers.get('retry-after')).toBe('5');
    await until('its handler is aborted', () => seen.includes('aborted'));
    askedBy(await ask('wait', {}, { headers: { 'x-user': 'bob' } }));
    askedBy(await ask('wait'));
    expect(await ask('wait')).toMatchObject(REFUSED);
    expect(await ask('wait', {}, { headers: { 'x-user': 'carol' } })).toMatchObject(REFUSED);
    await retry('wait', asked, answersTo(asked, { 'still there?': 'x' }), {}, alice);
    askedBy(await ask('wait', {}, alice));
  });
});

test('handlers of one principal share a session ID, which no other principal has, and none without a principal', async () => {
  await serve();
  const sessionOf = async (user?: string) =>
    textOf(await ask('session', {}, user ? { headers: { 'x-user': user } } : {}));
  const ids = [await sessionOf('alice'), await sessionOf('bob'), await sessionOf(), await sessionOf()];
  expect(new Set(ids).size).toBe(4);
  expect(await sessionOf('alice')).toBe(ids[0]);
});

test('200 principals with concurrent calls under equal IDs and tokens each get their own answers', async () => {
  await serve();
  const crossed: unknown[] = [];
  const one = async (user: string): Promise<void> => {
    const more = { id: 1, headers: { 'x-user': user }, meta: { progressToken: 't' } };
    const asked = askedBy(await ask('greet', { greeting: 'Hi' }, more));
    const reply = await retry('greet', asked, answersTo(asked, { 'Name?': user }), { greeting: 'Hi' }, more);
    if (textOf(reply) !== `Hi ${user}`) crossed.push([user, reply]);
  };
  const users = Array.from({ length: 200 }, (_, n) => `user-${n}`);
  for (let n = 0; n < users.length; n += 50) await Promise.all(users.slice(n, n + 50).map(one));
  expect(crossed).toEqual([]);
});
