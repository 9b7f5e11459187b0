import {
  InitializeRequestSchema,
  JSONRPCMessageSchema,
  SUPPORTED_PROTOCOL_VERSIONS,
  type JSONRPCRequest,
} from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { Refusal, type ErrorName } from '../../src/errors.js';
import { checkBatch, checkInitialize, classify, idOf, methodOf, type Classified } from '../../src/http/classify.js';

/** The refusal that is thrown, if one is; anything else that is thrown fails the test. */
function refusalOf(act: () => unknown): Refusal | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** What classify says, or the reason of its refusal. */
function verdict(body: unknown): Classified | ErrorName {
  return refusalOf(() => classify(body))?.reason ?? classify(body);
}

function verdictOfBatch(classified: Classified, version: string | undefined): ErrorName | 'passes' {
  return refusalOf(() => checkBatch(classified, version))?.reason ?? 'passes';
}

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
};

// What could be an ID, and what could be taken for one.
const anyId = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(null, true, '', 0, -0, 2 ** 53, NaN, [], {}, [1]),
);
const method = fc.oneof(fc.constantFrom('initialize', 'ping', 'tools/call', 'notifications/cancelled'), fc.string());
const params = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 });

const request = fc.record({
  jsonrpc: fc.constant('2.0'),
  id: fc.oneof(fc.string(), fc.maxSafeInteger()),
  method: method.filter((name) => name !== 'initialize'),
});
const notification = fc.record({ jsonrpc: fc.constant('2.0'), method });
const response = fc.record({
  jsonrpc: fc.constant('2.0'),
  id: fc.oneof(fc.string(), fc.maxSafeInteger()),
  result: fc.constant({}),
});
const initialize = fc
  .record({ id: fc.oneof(fc.string(), fc.maxSafeInteger()) })
  .map(({ id }) => ({ ...INITIALIZE, id }));
const message = fc.oneof(request, notification, response);

/** Close to a message: some fields are missing, some hold anything. */
const nearly = fc.record(
  {
    jsonrpc: fc.oneof({ weight: 9, arbitrary: fc.constant('2.0') }, { weight: 1, arbitrary: fc.jsonValue() }),
    id: anyId,
    method,
    params: fc.oneof(params, fc.constant(INITIALIZE.params), fc.jsonValue()),
    result: fc.oneof(params, fc.jsonValue()),
    error: fc.oneof(fc.record({ code: fc.integer(), message: fc.string() }), fc.jsonValue()),
    ['__proto__']: fc.jsonValue(),
  },
  { requiredKeys: [] },
);
const anyBody = fc.oneof(
  fc.jsonValue(),
  message,
  initialize,
  nearly,
  fc.array(fc.oneof(message, nearly), { maxLength: 5 }),
);

/** As it is after its way through JSON. */
const parsed = anyBody.map((body) => JSON.parse(JSON.stringify(body)) as unknown);

describe('classify', () => {
  test('takes exactly what the SDK takes for a message, and checks the params of an initialize as it does (property)', () => {
    fc.assert(
      fc.property(
        parsed.filter((body) => !Array.isArray(body)),
        (body) => {
          const got = verdict(body);
          if (!JSONRPCMessageSchema.safeParse(body).success) return expect(got).toBe('invalidRequest');
          const { method, id } = body as { method?: string; id?: unknown };
          if (method !== 'initialize' || id === undefined) {
            return expect(got).toEqual({ messages: [body], batch: false, initialize: undefined });
          }
          expect(got).toEqual({ messages: [body], batch: false, initialize: body });
          const refusal = refusalOf(() => checkInitialize(body as JSONRPCRequest));
          expect(refusal === undefined).toBe(InitializeRequestSchema.safeParse(body).success);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('takes a batch of 1 to 100 messages as it is, in its order (property)', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 100 }), (batch) => {
        expect(verdict(batch)).toEqual({ messages: batch, batch: true, initialize: undefined });
      }),
    );
  });

  test('refuses a batch with one entry that is no message, at any place, with its ID (property)', () => {
    const noMessage = nearly
      .map((body) => JSON.parse(JSON.stringify(body)) as unknown)
      .filter((body) => !JSONRPCMessageSchema.safeParse(body).success);
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), noMessage, fc.nat(5), (rest, wrong, at) => {
        const batch = [...rest.slice(0, at), wrong, ...rest.slice(at)];
        expect(refusalOf(() => classify(batch))).toMatchObject({ reason: 'invalidRequest', id: idOf(wrong) });
      }),
    );
  });

  test('refuses initialize in a batch, at any place and with any params (property)', () => {
    const anyInitialize = fc.oneof(
      initialize,
      fc.record({ id: fc.integer() }).map(({ id }) => ({ jsonrpc: '2.0', id, method: 'initialize' })),
    );
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), anyInitialize, fc.nat(5), (rest, one, at) => {
        expect(verdict([...rest.slice(0, at), one, ...rest.slice(at)])).toBe('initializeInBatch');
      }),
    );
  });

  test('refuses the empty batch, and one of more than 100', () => {
    const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };
    expect(verdict([])).toBe('emptyBatch');
    expect(verdict(Array.from({ length: 100 }, () => ping))).toMatchObject({ batch: true });
    expect(verdict(Array.from({ length: 101 }, () => ping))).toBe('batchTooLarge');
    // Looked at before its entries are: they may be a hundred thousand.
    expect(verdict(Array.from({ length: 101 }, () => null))).toBe('batchTooLarge');
  });

  test('a notification called initialize is no initialize', () => {
    const body = { jsonrpc: '2.0', method: 'initialize', params: INITIALIZE.params };
    expect(verdict(body)).toEqual({ messages: [body], batch: false, initialize: undefined });
  });

  test.each(['protocolVersion', 'capabilities', 'clientInfo'])(
    'an initialize without %s gets an error with its ID',
    (missing) => {
      const params = Object.fromEntries(Object.entries(INITIALIZE.params).filter(([key]) => key !== missing));
      const refusal = refusalOf(() => checkInitialize({ ...INITIALIZE, jsonrpc: '2.0', id: 'i', params }));
      expect(refusal).toMatchObject({ reason: 'invalidInitialize', id: 'i' });
    },
  );
});

describe('idOf', () => {
  test('is the ID of every request, and null for a batch, for a response (its ID is the server’s) and for a message without ID (property)', () => {
    fc.assert(
      fc.property(message, (body) => {
        expect(idOf(body)).toBe('id' in body && 'method' in body ? body.id : null);
        expect(idOf([body])).toBeNull();
      }),
    );
  });

  test('is an ID that JSON-RPC allows, or null, whatever the body is (property)', () => {
    fc.assert(
      fc.property(fc.oneof(parsed, fc.anything()), (body) => {
        const id = idOf(body);
        expect(id === null || typeof id === 'string' || Number.isSafeInteger(id)).toBe(true);
        if (id !== null) expect(Object.is((body as { id: unknown }).id, id)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('methodOf', () => {
  test('is the method of a single request or notification, else the kind of the body (property)', () => {
    fc.assert(
      fc.property(fc.oneof(message, initialize), (body) => {
        const method = 'method' in body ? body.method : 'response';
        expect(methodOf(classify(body))).toBe(method);
        if (method !== 'initialize') expect(methodOf(classify([body]))).toBe('batch');
      }),
    );
  });
});

describe('checkBatch (2025-06-18, changelog: JSON-RPC batching was removed)', () => {
  const single = classify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const batch = classify([{ jsonrpc: '2.0', id: 1, method: 'ping' }]);

  test.each(SUPPORTED_PROTOCOL_VERSIONS)('%s', (version) => {
    const without = ['2025-06-18', '2025-11-25'].includes(version);
    expect(verdictOfBatch(batch, version)).toBe(without ? 'batchNotAllowed' : 'passes');
    expect(verdictOfBatch(single, version)).toBe('passes');
    expect(verdictOfBatch(classify(INITIALIZE), version)).toBe('passes');
  });

  test('a version that is not known forbids nothing', () => {
    expect(verdictOfBatch(batch, undefined)).toBe('passes');
  });

  test('versions are dates, compared as such (property)', () => {
    const date = fc.date({ min: new Date('2024-01-01'), max: new Date('2030-12-31'), noInvalidDate: true });
    fc.assert(
      fc.property(date, (day) => {
        const version = day.toISOString().slice(0, 10);
        const without = day >= new Date('2025-06-18');
        expect(verdictOfBatch(batch, version)).toBe(without ? 'batchNotAllowed' : 'passes');
      }),
    );
  });
});
