import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Told } from './recorder.js';

interface Row {
  readonly type: string;
  readonly of: readonly string[];
  readonly level: 'required' | 'conditionally_required' | 'recommended' | 'opt_in';
  /** The condition of the level. Without one, it always holds. */
  readonly when?: string;
}

/** What a case of the tests is, in the words of the table. */
export type Condition = 'fails' | 'prompt' | 'tool' | 'request' | 'resource' | 'code' | 'session';

interface Conventions {
  readonly attributes: Readonly<Record<string, Row>>;
  readonly spans: Readonly<Record<'server' | 'client', { readonly kind: string }>>;
  readonly noErrorsOfServers: readonly number[];
  readonly metrics: Readonly<Record<string, { instrument: string; unit: string; attributes: string }>>;
  readonly buckets: readonly number[];
  readonly methods: readonly string[];
}

export const CONVENTIONS = JSON.parse(readFileSync(join(__dirname, 'conventions.json'), 'utf8')) as Conventions;

/**
 * Recommended attributes that a span leaves out: a client's address is known, but a client has no server; and the version of HTTP
 * by which it will answer a question is not known.
 */
const LEFT_OUT = { server: [] as string[], client: ['network.protocol.version'] };

/** The attributes of a span, a metric or a session that are not as the table has them. */
export function deviations(
  of: 'server' | 'client' | 'operation' | 'session',
  attributes: Readonly<Record<string, unknown>>,
  conditions: ReadonlySet<string>,
  leftOut: readonly string[] = [],
): string[] {
  const rows = new Map(Object.entries(CONVENTIONS.attributes));
  const unknown = Object.keys(attributes).filter((name) => rows.get(name)?.of.includes(of) !== true);
  const wrong = [...rows].flatMap(([name, { type, of: places, level, when }]) => {
    if (!places.includes(of)) return [];
    const value = attributes[name];
    const isWanted = level !== 'opt_in' && (when === undefined || conditions.has(when)) && !leftOut.includes(name);
    if (isWanted !== (value !== undefined)) return [`${name} is ${isWanted ? 'missing' : 'too much'}`];
    return value === undefined || typeof value === type ? [] : [`${name} is no ${type}`];
  });
  return [...unknown.map((name) => `${name} is not in the table`), ...wrong];
}

/** Holds a span to the conventions. */
export function expectConform(span: Told, side: 'server' | 'client', conditions: readonly Condition[]): void {
  const { attributes } = span;
  expect([span.name, deviations(side, attributes, new Set(conditions), LEFT_OUT[side])]).toEqual([span.name, []]);
  expect(span.kind).toBe(CONVENTIONS.spans[side].kind);
  const target = attributes['gen_ai.tool.name'] ?? attributes['gen_ai.prompt.name'];
  const parts = [attributes['mcp.method.name'], target].filter((part) => typeof part === 'string');
  expect(span.name).toBe(parts.join(' '));
  expect(span.status).toBe(conditions.includes('fails') ? 'ERROR' : 'UNSET');
  const code = attributes['rpc.response.status_code'];
  if (code === undefined) return;
  const isError = side === 'client' || !CONVENTIONS.noErrorsOfServers.includes(Number(code));
  expect(attributes['error.type']).toBe(isError ? code : undefined);
}
