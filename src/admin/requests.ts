import { LISTED_STATES, ORDERS, type ListQuery } from '../inspection/views.js';
import { isObject } from '../runtime/checks.js';
import { HttpRefusal } from './http.js';

const MAX_LIMIT = 100;
const MAX_OFFSET = 100_000;
const MAX_SEARCH = 200;
const MAX_PRINCIPAL = 4_096;
const KEY = /^[0-9a-f]{32}$/;

export const LISTS = ['tools', 'prompts', 'resources'] as const;
export type ListName = (typeof LISTS)[number];

type Read<T> = (value: unknown) => T | undefined;

const text =
  (most: number, least = 0): Read<string> =>
  (value) =>
    typeof value === 'string' && value.length >= least && value.length <= most ? value : undefined;
const oneOf =
  <Word extends string>(words: readonly Word[]): Read<Word> =>
  (value) =>
    words.find((word) => word === value);
const count =
  (most: number, least = 0): Read<number> =>
  (value) =>
    typeof value === 'string' && /^\d{1,7}$/.test(value) && Number(value) >= least && Number(value) <= most
      ? Number(value)
      : undefined;
const key: Read<string> = (value) => (typeof value === 'string' && KEY.test(value) ? value : undefined);
const principal = text(MAX_PRINCIPAL, 1);

/** The fields of one request. Each is read once. */
class Fields {
  readonly #values: Map<string, unknown>;

  constructor(entries: Iterable<readonly [string, unknown]>) {
    this.#values = new Map();
    for (const [name, value] of entries) {
      if (this.#values.has(name)) throw new HttpRefusal(400, `${name} is given twice`);
      this.#values.set(name, value);
    }
  }

  /** @throws HttpRefusal when the field is given and cannot be read. */
  optional<T>(name: string, read: Read<T>): T | undefined {
    const value = this.#values.get(name);
    this.#values.delete(name);
    if (value === undefined) return undefined;
    const known = read(value);
    if (known === undefined) throw new HttpRefusal(400, `${name} is not valid`);
    return known;
  }

  /** @throws HttpRefusal when the field is missing or cannot be read. */
  required<T>(name: string, read: Read<T>): T {
    const known = this.optional(name, read);
    if (known === undefined) throw new HttpRefusal(400, `${name} is missing`);
    return known;
  }

  /** @throws HttpRefusal when a field was not read. */
  end(): void {
    const [name] = this.#values.keys();
    if (name !== undefined) throw new HttpRefusal(400, 'The request has an unknown field');
  }
}

const fieldsOf = (body: unknown): Fields => {
  if (!isObject(body)) throw new HttpRefusal(400, 'The body is no object');
  return new Fields(Object.entries(body));
};

export function toListQuery(params: URLSearchParams): ListQuery {
  const fields = new Fields(params);
  const query = {
    state: fields.optional('state', oneOf(LISTED_STATES)),
    search: fields.optional('search', text(MAX_SEARCH))?.trim() ?? '',
    order: fields.optional('order', oneOf(ORDERS)) ?? 'age',
    descending: (fields.optional('direction', oneOf(['ascending', 'descending'])) ?? 'ascending') === 'descending',
    offset: fields.optional('offset', count(MAX_OFFSET)) ?? 0,
    limit: fields.optional('limit', count(MAX_LIMIT, 1)) ?? 50,
  };
  fields.end();
  return query;
}

export function toKey(params: URLSearchParams): string {
  const fields = new Fields(params);
  const found = fields.required('key', key);
  fields.end();
  return found;
}

export function toClose(body: unknown): string {
  const fields = fieldsOf(body);
  const found = fields.required('key', key);
  fields.end();
  return found;
}

export function toClosePrincipal(body: unknown): string {
  const fields = fieldsOf(body);
  const found = fields.required('principal', principal);
  fields.end();
  return found;
}

/** A change of a list, for one session, one principal or all. */
export interface ListChange {
  readonly list: ListName;
  readonly key: string | undefined;
  readonly principal: string | undefined;
}

export function toListChange(body: unknown): ListChange {
  const fields = fieldsOf(body);
  const change = {
    list: fields.required('list', oneOf(LISTS)),
    key: fields.optional('key', key),
    principal: fields.optional('principal', principal),
  };
  fields.end();
  if (change.key !== undefined && change.principal !== undefined) {
    throw new HttpRefusal(400, 'key and principal exclude each other');
  }
  return change;
}
