import {
  DEFAULT_NEGOTIATED_PROTOCOL_VERSION as SDK_DEFAULT,
  InitializeRequestParamsSchema,
  LATEST_PROTOCOL_VERSION as SDK_LATEST,
  LoggingLevelSchema,
  RELATED_TASK_META_KEY,
  SUPPORTED_PROTOCOL_VERSIONS as SDK_SUPPORTED,
} from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import {
  DEFAULT_NEGOTIATED_PROTOCOL_VERSION,
  isInitializeParams,
  LATEST_PROTOCOL_VERSION,
  LOG_LEVELS,
  RELATED_TASK,
  SUPPORTED_PROTOCOL_VERSIONS,
} from '../../src/protocol/session-era.js';

// The router carries what it needs of the SDK's version 1 itself. These tests hold it against the SDK.

test('versions, log levels and names are those of SDK v1', () => {
  expect(SUPPORTED_PROTOCOL_VERSIONS).toEqual(SDK_SUPPORTED);
  expect([LATEST_PROTOCOL_VERSION, DEFAULT_NEGOTIATED_PROTOCOL_VERSION]).toEqual([SDK_LATEST, SDK_DEFAULT]);
  expect(LOG_LEVELS).toEqual(LoggingLevelSchema.options);
  expect(RELATED_TASK).toBe(RELATED_TASK_META_KEY);
});

const rarely = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 30, arbitrary: usual },
    { weight: 1, arbitrary: fc.constantFrom<unknown>(null, 7, 'x', true, []) },
  );
const object = (fields: Record<string, fc.Arbitrary<unknown>>, requiredKeys: string[] = []): fc.Arbitrary<unknown> =>
  rarely(fc.record<Record<string, unknown>>({ other: fc.constant(1), ...fields }, { requiredKeys }));
const any = object({ a: fc.constant({}) });
const text = rarely(fc.string());
const flag = rarely(fc.boolean());
const entries = rarely(fc.dictionary(fc.constantFrom('a', 'constructor', '__proto__'), any));

const icon = object({ src: text, mimeType: text, sizes: rarely(fc.array(text)), theme: rarely(fc.constant('dark')) }, [
  'src',
]);
const clientInfo = object(
  { name: text, version: text, title: text, websiteUrl: text, description: text, icons: rarely(fc.array(icon)) },
  ['name', 'version'],
);
const capabilities = object({
  experimental: entries,
  sampling: object({ context: any, tools: any }),
  elicitation: object({ form: object({ applyDefaults: flag }), url: any }),
  roots: object({ listChanged: flag }),
  tasks: object({
    list: any,
    cancel: any,
    requests: object({ sampling: object({ createMessage: any }), elicitation: object({ create: any }) }),
  }),
  extensions: entries,
});
const params = object({ protocolVersion: text, capabilities, clientInfo }, [
  'protocolVersion',
  'capabilities',
  'clientInfo',
]);

test('the params of an initialize are those that the schema of SDK v1 takes (property)', () => {
  const verdicts = new Set<boolean>();
  const isEqual = (value: unknown): void => {
    // As a client sends it: without undefined, and with `__proto__` as a key of its own.
    const parsed: unknown = JSON.parse(JSON.stringify(value));
    const { success } = InitializeRequestParamsSchema.safeParse(parsed);
    verdicts.add(success);
    expect(isInitializeParams(parsed)).toBe(success);
  };
  fc.assert(fc.property(params, isEqual), { numRuns: 3_000 });
  expect(verdicts.size).toBe(2);
});
