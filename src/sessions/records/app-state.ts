import type { ContextState } from '../../options/options.js';
import { recordJson } from './record-json.js';

/** Bytes that the keys and values of one session may take as JSON. Each change writes the whole record. */
const MAX_STATE = 64 * 1024;

/** The application's own values of one session, as JSON text. */
export class AppState implements ContextState {
  protected readonly values = new Map<string, string>();
  /** Saves the values in the record. Undefined when the session has no record. */
  save: (() => Promise<void>) | undefined;

  constructor(values: Readonly<Record<string, unknown>> = {}) {
    for (const [key, value] of Object.entries(values)) this.values.set(key, JSON.stringify(value));
  }

  get(key: string): unknown {
    const text = this.values.get(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  set(key: string, value: unknown): Promise<void> {
    this.put(key, value);
    return this.save?.() ?? Promise.resolve();
  }

  /** Whether other servers may change the values, so that they are read anew for each request. */
  get isShared(): boolean {
    return false;
  }

  /** Reads the values anew, where they are shared. */
  load(): Promise<void> {
    return Promise.resolve();
  }

  /** Sets a value here. Throws as `set` does. */
  protected put(key: string, value: unknown): void {
    if (typeof key !== 'string') throw new TypeError('context.state: a key must be a string');
    const text = value === undefined ? undefined : asJson(key, value);
    const before = this.values.get(key);
    if (text === undefined) this.values.delete(key);
    else this.values.set(key, text);
    if (text !== undefined && this.#size() > MAX_STATE) {
      if (before === undefined) this.values.delete(key);
      else this.values.set(key, before);
      throw new RangeError(`context.state: with ${JSON.stringify(key)} it would take more than ${MAX_STATE} bytes`);
    }
  }

  /** All values, as a JSON object. */
  toString(): string {
    return `{${[...this.values].map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')}}`;
  }

  #size(): number {
    let size = 0;
    for (const [key, text] of this.values) size += Buffer.byteLength(key) + Buffer.byteLength(text);
    return size;
  }
}

/** `context.state` of a request of MCP 2026-07-28 whose values would end with it. So none is accepted. */
export class UnkeptState extends AppState {
  readonly #why: string;

  constructor(why: string) {
    super();
    this.#why = why;
  }

  override set(): Promise<void> {
    const refused = Promise.reject(new Error(`context.state: nothing is kept, as ${this.#why}`));
    // An unhandled rejection would end the process.
    refused.catch(() => undefined);
    return refused;
  }
}

function asJson(key: string, value: unknown): string {
  const text = recordJson(value);
  if (text === undefined) throw new TypeError(`context.state: ${JSON.stringify(key)} cannot be written as JSON`);
  return text;
}
