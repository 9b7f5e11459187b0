import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { SUPPORTED_PROTOCOL_VERSIONS, type RequestId } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { Registry } from 'prom-client';
import { encodeLease } from '../../src/cluster/membership/lease.js';
import { ERRORS, type ErrorName } from '../../src/errors.js';
import { mcpErrorHandler, type McpRouterOptions } from '../../src/index.js';
import { memoryEventStore, memoryStore } from '../../src/stores/index.js';
import { SessionEventLog } from '../../src/transport/session-events.js';
import { valueOf } from '../support/exposition.js';
import { initializeBody, JSON_HEADERS, messagesOf } from '../support/harness.js';
import { chunked, type RawResponse } from '../support/raw-http.js';
import { freePort } from '../support/free-port.js';
import { notesServer } from '../support/notes-server.js';
import { until } from '../support/waiting.js';
import { PER_REQUEST_SCENARIOS } from './per-request-scenarios.js';
import { cancelled, ping, PLAIN, Target, type Mount } from '../support/target.js';

interface Scenario {
  readonly options?: Partial<McpRouterOptions>;
  /** The ID that the error must bear. */
  readonly id: RequestId | null;
  /** What the error says beside its message. */
  readonly data?: unknown;
  /** Whether the router must read the body itself, without a parser before it. */
  readonly readsBody?: boolean;
  provoke(target: Target): Promise<RawResponse>;
}

const MAX_BODY_SIZE = 100_000;
const BROKEN = new Error('SECRET-7d1f at internal/store.js:1');
const brokenStore = {
  storeEvent: () => Promise.reject(BROKEN),
  getStreamIdForEventId: () => Promise.reject(BROKEN),
  replayEventsAfter: () => Promise.reject(BROKEN),
};

let renewals = 0;
/** A Redis in which every session is owned by a node that renews its lease and cannot be reached. */
async function redisWithUnreachableOwner(command: string): Promise<unknown> {
  const lease = {
    id: 'that node',
    host: '127.0.0.1',
    port: await freePort(),
    challenge: 'of that node',
    leaving: false,
  };
  if (command === 'HGETALL') return ['that node', encodeLease((renewals += 1), { ...lease, proof: undefined })];
  if (command === 'HMGET') return ['{}', '0', 'that node'];
  return command === 'SMEMBERS' ? [] : 1;
}

const sessionStore = memoryStore();
const eventStore = memoryEventStore();
/** Puts in the record of a session that is not here, and gives its ID. */
async function storedSession(): Promise<string> {
  const id = randomUUID();
  const { params } = initializeBody();
  const record = { v: 1, id, initialize: params, protocolVersion: params.protocolVersion, openedAt: 0 };
  await sessionStore.create(id, JSON.stringify(record), undefined, 60_000);
  return id;
}

/** For each row of the table, a request that gets it. */
const SCENARIOS = new Map<ErrorName, Scenario>([
  ...PER_REQUEST_SCENARIOS,
  ['parseError', { id: null, provoke: (target) => target.post('{"jsonrpc":"2.0","id":1,') }],
  ['invalidRequest', { id: 7, provoke: (target) => target.post({ jsonrpc: '1.0', id: 7, method: 'ping' }) }],
  ['bodyTooDeep', { id: null, provoke: (target) => target.post(`${'['.repeat(201)}${']'.repeat(201)}`) }],
  ['emptyBatch', { id: null, provoke: (target) => target.post([]) }],
  ['batchTooLarge', { id: null, provoke: (target) => target.post(Array.from({ length: 101 }, (_, id) => ping(id))) }],
  [
    'batchNotAllowed',
    { id: null, provoke: async (target) => target.post([ping(1)], { 'mcp-session-id': await target.open() }) },
  ],
  ['initializeInBatch', { id: null, provoke: (target) => target.post([initializeBody(3)]) }],
  [
    'alreadyInitialized',
    {
      id: 'again',
      provoke: async (target) => target.post(initializeBody('again'), { 'mcp-session-id': await target.open() }),
    },
  ],
  [
    'requestIdInFlight',
    {
      id: 5,
      provoke: async (target) => {
        const session = await target.open();
        const { response } = await target.waiting(5, session);
        const refused = await target.post(ping(5), { 'mcp-session-id': session });
        target.happened.emit('release');
        expect(messagesOf((await response).body)).toMatchObject([{ id: 5, result: {} }]);
        return refused;
      },
    },
  ],
  [
    'invalidInitialize',
    { id: 0, provoke: (target) => target.post({ jsonrpc: '2.0', id: 0, method: 'initialize', params: {} }) },
  ],
  ['sessionRequired', { id: 'a', provoke: (target) => target.post(ping('a')) }],
  [
    'unsupportedProtocolVersion',
    {
      id: 1,
      provoke: async (target) =>
        target.post(ping(1), { 'mcp-session-id': await target.open(), 'mcp-protocol-version': '1999-01-01' }),
    },
  ],
  [
    'unknownEventId',
    {
      id: null,
      provoke: async (target) => target.get({ 'mcp-session-id': await target.open(), 'last-event-id': '1' }),
    },
  ],
  ['unauthorized', { options: { requirePrincipal: true }, id: null, provoke: (target) => target.post(ping(1)) }],
  ['hostNotAllowed', { id: null, provoke: (target) => target.post(ping(1), { host: 'evil.example' }) }],
  ['originNotAllowed', { id: null, provoke: (target) => target.post(ping(1), { origin: 'https://evil.example' }) }],
  ['sessionNotFound', { id: 1, provoke: (target) => target.post(ping(1), { 'mcp-session-id': 'unknown' }) }],
  ['methodNotAllowed', { id: null, provoke: (target) => target.send('PUT', JSON_HEADERS, ping(1)) }],
  ['notAcceptable', { id: null, provoke: (target) => target.post(ping(1), { accept: 'text/html' }) }],
  [
    'streamConflict',
    {
      id: null,
      provoke: async (target) => {
        const session = await target.open();
        const answered = await target.stream(session);
        const second = target.get({ 'mcp-session-id': session });
        await answered();
        return second;
      },
    },
  ],
  [
    'bodyTooLarge',
    {
      options: { maxBodySize: MAX_BODY_SIZE },
      id: null,
      provoke: (target) => target.post(JSON.stringify(ping(1)).padEnd(2 * MAX_BODY_SIZE)),
    },
  ],
  [
    'tooManyRequests',
    {
      options: { maxRequestsPerSession: 1 },
      id: 6,
      provoke: async (target) => {
        const session = await target.open();
        const { response } = await target.waiting(5, session);
        const refused = await target.post(ping(6), { 'mcp-session-id': session });
        target.happened.emit('release');
        expect(messagesOf((await response).body)).toMatchObject([{ id: 5, result: {} }]);
        return refused;
      },
    },
  ],
  ['unsupportedMediaType', { id: null, provoke: (target) => target.post(ping(1), { 'content-type': 'text/plain' }) }],
  [
    'internalError',
    {
      options: {
        serverFactory: () => {
          throw BROKEN;
        },
      },
      id: 1,
      provoke: (target) => target.post(initializeBody(1)),
    },
  ],
  [
    'bodiesAtCapacity',
    {
      options: { maxBodySize: MAX_BODY_SIZE, maxBodyMemory: MAX_BODY_SIZE },
      id: null,
      readsBody: true,
      provoke: async (target) => {
        const stopped = await target.begin(JSON_HEADERS, ' '.repeat(MAX_BODY_SIZE - 1));
        const body = chunked(Buffer.from(JSON.stringify(ping(1)))).toString();
        await until('what has come fills the memory', async () => {
          await target.send('POST', { ...JSON_HEADERS, 'transfer-encoding': 'chunked' }, body);
          return stopped.unread !== '';
        });
        return stopped.response();
      },
    },
  ],
  [
    'openTimeout',
    {
      id: 1,
      options: { openTimeout: 30_000 },
      provoke: async (target) => {
        const asked = once(target.happened, 'asked');
        const response = target.post(initializeBody(1), { 'x-slow': 'yes' });
        await asked;
        target.clock.advance(30_000);
        return response;
      },
    },
  ],
  [
    'atCapacity',
    {
      options: { maxSessions: 1 },
      id: 1,
      provoke: async (target) => {
        await target.open();
        return target.post(initializeBody(1));
      },
    },
  ],
  [
    'principalAtCapacity',
    {
      options: { maxSessionsPerPrincipal: 1, principal: () => 'alice' },
      id: 1,
      provoke: async (target) => {
        await target.open();
        return target.post(initializeBody(1));
      },
    },
  ],
  [
    'draining',
    {
      id: 1,
      provoke: async (target) => {
        await target.router.drain(1_000);
        return target.post(initializeBody(1));
      },
    },
  ],
  [
    'restoreFailed',
    {
      options: {
        store: sessionStore,
        serverFactory: () => {
          throw BROKEN;
        },
      },
      id: 7,
      provoke: async (target) => target.post(ping(7), { 'mcp-session-id': await storedSession() }),
    },
  ],
  [
    'ownerUnreachable',
    {
      options: { cluster: { redis: { sendCommand: redisWithUnreachableOwner }, secret: 'x'.repeat(32) } },
      id: 8,
      provoke: async (target) => {
        let response: RawResponse | undefined;
        void target.post(ping(8), { 'mcp-session-id': randomUUID() }).then((given) => (response = given));
        await until('it is not held any longer', () => {
          target.clock.advance(50);
          return response !== undefined;
        });
        return response!;
      },
    },
  ],
  [
    'storeUnavailable',
    {
      options: { eventStore: brokenStore },
      id: null,
      provoke: async (target) => target.get({ 'mcp-session-id': await target.open(), 'last-event-id': '1' }),
    },
  ],
  [
    'outcomeUnknown',
    {
      options: { store: sessionStore, eventStore },
      id: 8,
      provoke: async (target) => {
        const session = await storedSession();
        const earlierLife = new SessionEventLog(eventStore, session, 0, target.clock, () => undefined);
        const primed = await earlierLife.store(earlierLife.newStreamId([8]));
        return target.get({ 'mcp-session-id': session, 'last-event-id': primed! });
      },
    },
  ],
  [
    'answerNotStored',
    {
      options: {
        eventStore: {
          storeEvent: (stream, message) =>
            'result' in message ? Promise.reject(BROKEN) : eventStore.storeEvent(stream, message),
          replayEventsAfter: (id, to) => eventStore.replayEventsAfter(id, to),
        },
      },
      id: 8,
      provoke: async (target) => {
        const session = await target.open();
        const { body } = await target.post(ping(8), { 'mcp-session-id': session });
        const [, primed] = /^id: (.*)$/m.exec(body)!;
        target.clock.advance(300_000);
        return target.get({ 'mcp-session-id': session, 'last-event-id': primed! });
      },
    },
  ],
  [
    'tooManySubscriptions',
    {
      options: { serverFactory: notesServer, store: sessionStore, maxSubscriptions: 1 },
      id: 8,
      provoke: async (target) => {
        const session = { 'mcp-session-id': await target.open() };
        const subscribe = (id: number, uri: string) => {
          const body = { jsonrpc: '2.0', id, method: 'resources/subscribe', params: { uri } };
          return target.post(body, session);
        };
        await subscribe(7, 'note:a');
        return subscribe(8, 'note:b');
      },
    },
  ],
  [
    'requestTimedOut',
    {
      options: { requestTimeout: 60_000 },
      id: 8,
      provoke: async (target) => {
        const { response } = await target.waiting(8, await target.open());
        target.clock.advance(60_000);
        return response;
      },
    },
  ],
  [
    'requestCancelled',
    {
      options: { enableJsonResponse: true },
      id: 8,
      provoke: async (target) => {
        const session = await target.open();
        const { response } = await target.waiting(8, session);
        expect(await target.post(cancelled(8), { 'mcp-session-id': session })).toMatchObject({ status: 202, body: '' });
        return response;
      },
    },
  ],
  [
    'sessionClosed',
    {
      id: 8,
      provoke: async (target) => {
        const session = await target.open();
        const { response } = await target.waiting(8, session);
        expect(await target.send('DELETE', { 'mcp-session-id': session })).toMatchObject({ status: 200, body: '' });
        return response;
      },
    },
  ],
]);

const PARSER_REFUSES = new Set<ErrorName>(['parseError', 'bodyTooDeep', 'bodyTooLarge', 'unsupportedMediaType']);
const BEHIND_PARSER = 'behind express.json(), before mcpErrorHandler()';

const MOUNTS: readonly Mount[] = [
  PLAIN,
  { where: 'at the root', path: '/mcp', mount: (app, router) => app.use(router) },
  {
    where: 'with a path of its own',
    path: '/rpc/v1',
    options: { path: '/rpc/v1' },
    mount: (app, router) => app.use(router),
  },
  {
    where: BEHIND_PARSER,
    path: '/mcp',
    mount: (app, router) => app.use('/mcp', express.json(), router, mcpErrorHandler()),
  },
];

const HEADERS_OF = new Map<number, readonly [string, string]>([
  [401, ['www-authenticate', 'Bearer']],
  [405, ['allow', 'GET, POST, DELETE']],
  [429, ['retry-after', '5']],
  [503, ['retry-after', '5']],
]);

/** The error that the response gives, and all that it says beside it. */
function errorIn({ headers, body }: RawResponse): unknown {
  if (headers.get('content-type') === 'application/json') return JSON.parse(body);
  expect(headers.get('content-type')).toBe('text/event-stream');
  const messages = messagesOf(body);
  expect(messages).toHaveLength(1);
  return messages[0];
}

describe.each(MOUNTS)('every row of the error table, as a client gets it from a router $where', (mount) => {
  let target: Target;
  beforeEach(() => (target = new Target()));
  afterEach(() => target.close());

  const names = (Object.keys(ERRORS) as ErrorName[]).filter(
    (name) => mount.where !== BEHIND_PARSER || SCENARIOS.get(name)?.readsBody !== true,
  );
  test.each(names)('%s', async (name) => {
    const scenario = SCENARIOS.get(name);
    if (scenario === undefined) throw new Error(`no request is known that provokes ${name}`);
    const registry = new Registry();
    await target.start(mount, {
      metrics: { registry },
      serverFactory: ({ req }) => {
        if (req.headers['x-slow'] === undefined) return target.server();
        target.happened.emit('asked');
        return new Promise(() => undefined);
      },
      ...scenario.options,
    });

    const response = await scenario.provoke(target);

    const { status, code, message } = ERRORS[name];
    expect(response.status).toBe(status);
    // A parser before the router throws before the router can read an ID.
    const error = { code, message, ...(scenario.data !== undefined && { data: scenario.data }) };
    expect(errorIn(response)).toEqual({ jsonrpc: '2.0', error, id: scenario.id });
    if (status !== 200) expect(response.headers.get('content-type')).toBe('application/json');
    for (const [of, [header, value]] of HEADERS_OF) {
      const expected = status === of || HEADERS_OF.get(status)?.[0] === header ? value : undefined;
      expect(response.headers.get(header)).toBe(expected);
    }
    expect(response.body).not.toMatch(/<|SECRET|\.[jt]s:|\n\s+at /);
    // The router cannot count what the parser before it refuses.
    if (mount.where === BEHIND_PARSER && PARSER_REFUSES.has(name)) return;
    await until('the metrics have counted it', async () => {
      const labels = { status: String(status), error: name };
      return valueOf(await registry.metrics(), 'mcp_http_responses_total', labels)! > 0;
    });
  });
});

describe('docs/http.md', () => {
  test('holds exactly the rows of src/errors.ts: names, statuses, codes and messages, in the same order', () => {
    const rows = [
      ...readFileSync('docs/http.md', 'utf8').matchAll(/^\| `(\w+)` *\| (\d{3}) *\| (-\d{5}) *\| (.+?) *\|/gm),
    ];
    const versions = SUPPORTED_PROTOCOL_VERSIONS.join(', ');
    expect(
      rows.map(([, name, status, code, message]) => ({ name, status: Number(status), code: Number(code), message })),
    ).toEqual(
      Object.entries(ERRORS).map(([name, row]) => ({ name, ...row, message: row.message.replace(versions, '…') })),
    );
  });
});
