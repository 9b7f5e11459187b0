import { acceptedContent, inputRequired, McpServer, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server';
import type { CallToolResult } from '@modelcontextprotocol/server';
import { v2 } from '../../src/v2.js';
import { start, type Harness } from '../support/harness.js';
import { call, VERSION, type PerRequestReply } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { accept, textOf } from './asked.js';

const PRINCIPALS = Number(process.env.CROSSING_PRINCIPALS ?? 50);
/** Of each principal, all in their handlers at the same time. */
const CALLS = 4;
/** Principals at the same time. */
const AT_ONCE = 10;

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const requestedSchema = { type: 'object' as const, properties: { value: { type: 'string' as const } } };

let built: string[];
let seen: string[];
let released: Deferred;
let harness: Harness;

/**
 * A server of SDK v2 whose tool `work` marks all that it says with its principal and the header `x-call` of its request. It speaks
 * of the request that it names, and of the one that it happens to work on, while other calls of its principal do the same.
 */
function markingServer(principal = 'none'): McpServer {
  const server = new McpServer(
    { name: 'marking', version: '2.0.0' },
    {
      capabilities: { logging: {} },
      supportedProtocolVersions: [VERSION, ...SUPPORTED_PROTOCOL_VERSIONS],
    },
  );
  built.push(principal);
  let arrived = 0;
  let gate = new Deferred();
  const allArrive = (): Promise<void> => {
    const { promise } = gate;
    arrived += 1;
    if (arrived % CALLS === 0) {
      gate.resolve();
      gate = new Deferred();
    }
    return promise;
  };
  server.registerTool('work', {}, async ({ mcpReq, http }) => {
    const mark = `${principal}/${String(http?.req?.headers.get('x-call'))}`;
    const progressToken = mcpReq._meta?.progressToken ?? '';
    const report = (progress: number) => ({
      method: 'notifications/progress' as const,
      params: { progressToken, progress, message: mark },
    });
    await allArrive();
    await mcpReq.notify(report(1));
    await allArrive();
    await server.server.notification(report(2));
    await server.server.notification({ method: 'notifications/message', params: { level: 'info', data: mark } });
    await allArrive();
    const answer = acceptedContent<{ value: string }>(mcpReq.inputResponses, 'same');
    if (answer !== undefined) return text([mark, answer.value, mcpReq.requestState()].join(' '));
    const asked = inputRequired.elicit({ message: mark, requestedSchema });
    return inputRequired({ inputRequests: { same: asked }, requestState: mark });
  });
  server.registerTool('hold', {}, async ({ mcpReq, http }) => {
    const name = String(http?.req?.headers.get('x-call'));
    seen.push(`${name} holds`);
    mcpReq.signal.addEventListener('abort', () => seen.push(`${name} aborts`));
    await released.promise;
    return text(name);
  });
  return server;
}

beforeEach(async () => {
  built = [];
  seen = [];
  released = new Deferred();
  harness = await start({
    serverFactory: ({ principal }) => markingServer(principal),
    principal: (req) => req.headers['x-user'] as string | undefined,
    perRequest: { sdk: v2(), servers: 'principal' },
  });
});
afterEach(async () => {
  released.resolve();
  await harness.close();
});

/** Sends a request of a call. It has the same ID, token and arguments as those of every other call. */
function request(
  tool: string,
  user: string,
  name: string,
  params = {},
  signal?: AbortSignal,
): Promise<PerRequestReply> {
  return call(
    harness.url,
    tool,
    {},
    {
      id: 1,
      capabilities: { elicitation: { form: {} } },
      meta: { progressToken: 't', 'io.modelcontextprotocol/logLevel': 'info' },
      headers: { 'x-user': user, 'x-call': name },
      params,
      ...(signal && { signal }),
    },
  );
}

/** One call from its first request to its result: all that is said in its replies must be of it. */
async function work(user: string, name: string): Promise<void> {
  const mark = `${user}/${name}`;
  const said = [
    { progressToken: 't', progress: 1, message: mark },
    { progressToken: 't', progress: 2, message: mark },
    { level: 'info', data: mark },
  ];
  const asked = await request('work', user, name);
  expect(asked.notifications.map(({ params }) => params)).toEqual(said);
  expect(asked.result).toMatchObject({ requestState: mark, inputRequests: { same: { params: { message: mark } } } });
  const params = { requestState: mark, inputResponses: { same: accept(mark) } };
  const answered = await request('work', user, name, params);
  expect(answered.notifications.map(({ params }) => params)).toEqual(said);
  expect(textOf(answered)).toBe([mark, mark, mark].join(' '));
}

describe('servers of SDK v2 that a principal\'s requests share (docs/two-eras.md, "Servers of SDK v2")', () => {
  test(`${PRINCIPALS} principals with ${CALLS} calls each at once, under equal IDs and tokens, get nothing of one another`, async () => {
    const users = Array.from({ length: PRINCIPALS }, (_, n) => `user-${n}`);
    const names = Array.from({ length: CALLS }, (_, n) => `call-${n}`);
    const rest = [...users];
    const worker = async (): Promise<void> => {
      for (let user = rest.pop(); user !== undefined; user = rest.pop()) {
        const own = user;
        await Promise.all(names.map((name) => work(own, name)));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    expect([...built].sort()).toEqual([...users].sort());
  });

  test('abort the handler of the call whose client hangs up, and no other', async () => {
    const client = new AbortController();
    const gone = request('hold', 'user-0', 'call-0', {}, client.signal).catch(() => 'gone');
    const kept = request('hold', 'user-0', 'call-1');
    await until('both hold', () => seen.length === 2);
    client.abort();
    expect(await gone).toBe('gone');
    await until('a handler aborts', () => seen.length === 3);
    released.resolve();
    expect(textOf(await kept)).toBe('call-1');
    expect(seen.slice(2)).toEqual(['call-0 aborts']);
    expect(built).toEqual(['user-0']);
  });
});
