import fc from 'fast-check';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  isJSONRPCErrorResponse,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResultResponse,
  RELATED_TASK_META_KEY,
  type JSONRPCMessage,
} from '@modelcontextprotocol/sdk/types.js';
import { kindOf, type MessageKind } from '../../src/transport/jsonrpc.js';
import { runs } from '../support/runs.js';

/** What the SDK takes a message for: the questions of `Protocol.connect`'s `onmessage`, in its order. */
function sdkKindOf(value: unknown): MessageKind | undefined {
  if (isJSONRPCResultResponse(value) || isJSONRPCErrorResponse(value)) return 'response';
  if (isJSONRPCRequest(value)) return 'request';
  return isJSONRPCNotification(value) ? 'notification' : undefined;
}

// JSON text can say what JSON.stringify cannot: these strings stand for numbers that a client may well send.
const RAW_NUMBERS = ['1e400', '-1e400', '-0', '1.0', '1e0', '9007199254740993'];

/** As on the wire: through text, whatever it was made of. */
function overTheWire(value: unknown): unknown {
  const text = RAW_NUMBERS.reduce((json, raw) => json.replaceAll(`"<${raw}>"`, raw), JSON.stringify(value));
  return JSON.parse(text);
}

const rawNumber = fc.constantFrom(...RAW_NUMBERS.map((raw) => `<${raw}>`));
const integer = fc.constantFrom(0, 1, -1, 2 ** 31, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER);
const id = fc.oneof(fc.constantFrom<unknown>('', 'a', '1', '__proto__'), integer);
const notId = fc.constantFrom<unknown>(1.5, 2 ** 53, -(2 ** 53), 1e21, null, true, [], [1], {}, { id: 1 });
const name = fc.constantFrom('tools/call', 'ping', '', '__proto__', 'notifications/progress');
const scalar = fc.oneof(id, rawNumber, notId, name);

/** Keys that mean something somewhere in a message, or to JavaScript. */
const key = fc.oneof(
  fc.constantFrom('jsonrpc', 'id', 'method', 'params', 'result', 'error', 'code', 'message', 'data'),
  fc.constantFrom('_meta', 'progressToken', RELATED_TASK_META_KEY, 'taskId'),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'valueOf', '0', '', 'extra', 'ID', 'Method'),
);

const meta = fc.record(
  { progressToken: id, [RELATED_TASK_META_KEY]: fc.record({ taskId: fc.string() }), extra: scalar },
  { requiredKeys: [] },
);
const open = fc.record({ _meta: meta, extra: scalar }, { requiredKeys: [] });
const jsonrpc = fc.constant('2.0');
const error = fc.record({ code: integer, message: name, data: scalar }, { requiredKeys: ['code', 'message'] });

/** Valid messages of every kind. */
const message: fc.Arbitrary<object> = fc.oneof(
  fc.record({ jsonrpc, id, method: name, params: open }, { requiredKeys: ['jsonrpc', 'id', 'method'] }),
  fc.record({ jsonrpc, method: name, params: open }, { requiredKeys: ['jsonrpc', 'method'] }),
  fc.record({ jsonrpc, id, result: open }),
  fc.record({ jsonrpc, id, error }, { requiredKeys: ['jsonrpc', 'error'] }),
);

interface Mutation {
  readonly what: 'drop' | 'add' | 'retype' | 'reverse';
  readonly where: number;
  readonly key: string;
  readonly value: unknown;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  what: fc.constantFrom('drop', 'add', 'retype', 'reverse'),
  where: fc.nat(),
  key,
  value: fc.oneof(scalar, meta, open, error, fc.constant({ _meta: [] }), fc.constant({ taskId: 1 })),
});

/** An own property, whatever its name: assignment to `__proto__` would set the prototype, JSON.parse does not. */
function put(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}

/** Every object and array in a value, itself first. */
function containers(value: unknown): object[] {
  return typeof value === 'object' && value !== null ? [value, ...Object.values(value).flatMap(containers)] : [];
}

function mutate(root: object, { what, where, key, value }: Mutation): void {
  const all = containers(root);
  const target = all[where % all.length]!;
  const own = Object.keys(target);
  const victim = own[where % Math.max(1, own.length)];
  if (what === 'add' || victim === undefined) return put(target, key, structuredClone(value));
  if (what === 'retype') return put(target, victim, structuredClone(value));
  const entries = Object.entries(target);
  for (const name of own) Reflect.deleteProperty(target, name);
  const kept = what === 'reverse' ? entries.reverse() : entries.filter(([name]) => name !== victim);
  for (const [name, held] of kept) put(target, name, held);
}

/** A message as it arrives: right, or wrong in up to three places. */
const received: fc.Arbitrary<unknown> = fc
  .tuple(message, fc.array(mutation, { maxLength: 3 }))
  .map(([valid, mutations]) => {
    const mutated = structuredClone(valid);
    for (const each of mutations) mutate(mutated, each);
    return overTheWire(mutated);
  });

describe('kindOf agrees with the schemas of SDK 1.32.2', () => {
  test('on messages of every kind, whole and damaged at any depth', () => {
    const seen = new Map<MessageKind | undefined, number>();
    fc.assert(
      fc.property(received, (value) => {
        const kind = kindOf(value);
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        expect(kind).toBe(sdkKindOf(value));
      }),
      { numRuns: runs(4_000) },
    );
    // Or the property would say little: each verdict must have come up often.
    for (const kind of ['request', 'notification', 'response', undefined] as const) {
      expect(seen.get(kind)).toBeGreaterThan(200);
    }
  });

  test('on any JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const parsed = overTheWire(value);
        expect(kindOf(parsed)).toBe(sdkKindOf(parsed));
      }),
      { numRuns: runs(2_000) },
    );
  });

  test('on IDs: a string or a safe integer, and no other JSON value', () => {
    const ids = ['0', '-0', '-1', '""', '"1"', '1.0', '1e3', '9007199254740991', '-9007199254740991'];
    const others = ['1.5', '1e21', '1e400', '9007199254740992', '-9007199254740992', 'null', 'true', '[]', '[1]', '{}'];
    for (const text of [...ids, ...others]) {
      const request: unknown = JSON.parse(`{"jsonrpc":"2.0","id":${text},"method":"ping"}`);
      const response: unknown = JSON.parse(`{"jsonrpc":"2.0","id":${text},"result":{}}`);
      const failure: unknown = JSON.parse(`{"jsonrpc":"2.0","id":${text},"error":{"code":1,"message":""}}`);
      const isId = ids.includes(text);
      expect([text, kindOf(request)]).toEqual([text, isId ? 'request' : undefined]);
      expect([text, kindOf(response)]).toEqual([text, isId ? 'response' : undefined]);
      expect([text, kindOf(failure)]).toEqual([text, isId ? 'response' : undefined]);
      for (const value of [request, response, failure]) expect(kindOf(value)).toBe(sdkKindOf(value));
    }
  });

  test('on `_meta`: a progress token is an ID, the taskId of a related task is a string, and other keys are open', () => {
    const tokens = [0, '', 'a', 1.5, 1e21, null, true, {}, []].map((progressToken) => ({ progressToken }));
    const tasks = [{ taskId: '' }, { taskId: 'a', extra: 1 }, { taskId: 1 }, { taskId: null }, {}, [], null, 'a', 1];
    const metas = [
      ...tokens,
      ...tasks.map((task) => ({ [RELATED_TASK_META_KEY]: task })),
      { extra: 1 },
      {},
      null,
      [],
      1,
    ];
    for (const _meta of metas) {
      const values = [
        { jsonrpc: '2.0', id: 1, method: 'ping', params: { _meta } },
        { jsonrpc: '2.0', method: 'notifications/progress', params: { _meta } },
        { jsonrpc: '2.0', id: 1, result: { _meta } },
      ];
      expect([_meta, ...values.map(kindOf)]).toEqual([_meta, ...values.map(sdkKindOf)]);
    }
  });

  test('on keys named __proto__, an own property after JSON.parse: unknown beside `method`, open inside `params`', () => {
    const beside: unknown = JSON.parse('{"jsonrpc":"2.0","id":1,"method":"ping","__proto__":{}}');
    const instead: unknown = JSON.parse('{"__proto__":{"jsonrpc":"2.0","id":1,"method":"ping"}}');
    const inside: unknown = JSON.parse('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"__proto__":{"_meta":1}}}');
    expect([beside, instead, inside].map(kindOf)).toEqual([undefined, undefined, 'request']);
    expect([beside, instead, inside].map(sdkKindOf)).toEqual([undefined, undefined, 'request']);
  });

  test('on keys with the value undefined, which other middleware may set: absent where optional, else present', () => {
    const values = [
      { jsonrpc: '2.0', id: 1, method: 'ping', params: undefined },
      { jsonrpc: '2.0', id: undefined, method: 'ping' },
      { jsonrpc: '2.0', id: 1, result: {}, error: undefined },
      { jsonrpc: '2.0', id: undefined, error: { code: 1, message: '', data: undefined } },
      { jsonrpc: '2.0', id: 1, method: 'ping', params: { _meta: undefined } },
      { jsonrpc: '2.0', id: 1, method: 'ping', params: { _meta: { progressToken: undefined } } },
      { jsonrpc: '2.0', id: 1, method: undefined, result: {} },
    ];
    expect(values.map(kindOf)).toEqual(['request', undefined, undefined, 'response', 'request', 'request', undefined]);
    expect(values.map(sdkKindOf)).toEqual(values.map(kindOf));
  });

  // Zod before 4.1 looks at own keys only, so we may refuse more. Not with `error`: zod itself breaks then.
  test.each(['jsonrpc', 'id', 'method', 'params', 'result', '_meta', 'progressToken', 'taskId', 'extra'])(
    'or refuses, while Object.prototype is polluted with %s',
    (polluted) => {
      const values = fc.sample(received, 500);
      for (const pollution of [1, 'x', '2.0', {}]) {
        let verdicts: (readonly [MessageKind | undefined, MessageKind | undefined])[];
        put(Object.prototype, polluted, pollution);
        try {
          verdicts = values.map((value) => [kindOf(value), sdkKindOf(value)] as const);
        } finally {
          Reflect.deleteProperty(Object.prototype, polluted);
        }
        expect(verdicts.filter(([ours, theirs]) => ours !== undefined && ours !== theirs)).toEqual([]);
      }
    },
  );
});

test('a connected SDK server answers exactly the values that kindOf calls requests', async () => {
  const sent: JSONRPCMessage[] = [];
  const dropped: string[] = [];
  const transport: Transport = {
    start: async () => undefined,
    send: async (message) => {
      sent.push(message);
    },
    close: async () => undefined,
  };
  const server = new McpServer({ name: 'test', version: '1' });
  server.server.onerror = ({ message }) => {
    if (message.startsWith('Unknown message type')) dropped.push(message);
  };
  await server.connect(transport);

  await fc.assert(
    fc.asyncProperty(received, async (value) => {
      sent.length = 0;
      dropped.length = 0;
      const kind = kindOf(value);
      transport.onmessage?.(value as JSONRPCMessage);
      await new Promise(setImmediate);
      expect(sent.map((answer) => 'id' in answer && answer.id)).toEqual(
        kindOf(value) === 'request' ? [(value as { id: unknown }).id] : [],
      );
      expect(dropped).toHaveLength(kind === undefined ? 1 : 0);
    }),
    { numRuns: runs(1_000) },
  );
  await server.close();
});
