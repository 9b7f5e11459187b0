import { createHash } from 'node:crypto';
import type { JSONRPCRequest, RequestId, Result } from '../../../protocol/messages.js';
import { errorResponse } from '../../../errors.js';
import { RESERVED_PREFIX } from '../../../protocol/per-request-era.js';
import type { Question } from '../../../options/telemetry.js';
import { isObject } from '../../../runtime/checks.js';
import { withTrace } from '../../../transport/asked-operations.js';
import { without, type Fields } from '../../../transport/jsonrpc.js';

/** The field of a question's `_meta` by which a server names the question itself. */
export const INPUT_KEY = 'express-mcp-router/input-key';
const DIGEST_LENGTH = 16;

interface Pending {
  readonly request: JSONRPCRequest;
  readonly span: Question | undefined;
}

/** The unanswered questions of a server to its client, for one call. */
export class Questions {
  /** By the key that the client answers under. */
  readonly #pending = new Map<string, Pending>();
  #asked = 0;

  get size(): number {
    return this.#pending.size;
  }

  /**
   * Adds a question.
   *
   * @param span - Undefined without telemetry.
   * @returns Its key, which contains a digest of the question. So when the client starts the request anew with its answers, each
   * answer still matches its question.
   */
  add(question: JSONRPCRequest, span?: Question): string {
    this.#asked += 1;
    const named = question.params?._meta?.[INPUT_KEY];
    const free = typeof named === 'string' && named !== '' && !this.#pending.has(named);
    const key = free ? named : keyOf(this.#asked, question);
    // The trace is not part of the key: a request that the client starts anew has another trace.
    this.#pending.set(key, { request: span === undefined ? question : withTrace(question, span), span });
    return key;
  }

  /** Removes the answered questions. Returns the ID and the answer of each. A value that is no answer is ignored. */
  takeAnswered(answers: Fields): [RequestId, Result][] {
    const answered: [RequestId, Result][] = [];
    for (const [key, { request, span }] of this.#pending) {
      const answer = Object.hasOwn(answers, key) ? answers[key] : undefined;
      if (!isObject(answer)) continue;
      this.#pending.delete(key);
      span?.end({ result: answer });
      answered.push([request.id, answer]);
    }
    return answered;
  }

  /** The server does not want an answer any more. */
  withdraw(id: unknown): void {
    for (const [key, { request, span }] of this.#pending) {
      if (request.id !== id) continue;
      this.#pending.delete(key);
      span?.end(undefined);
    }
  }

  /** No answer is expected any more. */
  close(): void {
    for (const { span } of this.#pending.values()) span?.end(errorResponse('sessionClosed'));
    this.#pending.clear();
  }

  /** The field of that name in the result that asks the client. */
  get inputRequests(): Fields {
    return Object.fromEntries([...this.#pending].map(([key, { request }]) => [key, shown(request)]));
  }
}

function keyOf(n: number, question: JSONRPCRequest): string {
  return `q${n}-${digestOf(shown(question)).slice(0, DIGEST_LENGTH)}`;
}

/** The question as MCP 2026-07-28 has it: without the fields of 2025-11-25 for tasks, progress, and completions by notification. */
function shown({ method, params = {} }: JSONRPCRequest): Fields {
  const rest = without(params, '_meta', 'task', 'elicitationId');
  const own = Object.entries(params._meta ?? {}).filter(
    ([name]) => name !== 'progressToken' && name !== INPUT_KEY && !name.startsWith(RESERVED_PREFIX),
  );
  return { method, params: own.length === 0 ? rest : { ...rest, _meta: Object.fromEntries(own) } };
}

/** The capability that a client must declare to be asked this; undefined for what no client of MCP 2026-07-28 can be asked. */
export function capabilityFor(method: string, params: Fields = {}): Fields | undefined {
  switch (method) {
    case 'elicitation/create':
      return { elicitation: params.mode === 'url' ? { url: {} } : { form: {} } };
    case 'sampling/createMessage':
      return { sampling: params.tools === undefined && params.toolChoice === undefined ? {} : { tools: {} } };
    case 'roots/list':
      return { roots: {} };
    default:
      return undefined;
  }
}

/** Whether a client has declared all that is required of it. */
export function declares(declared: Fields, required: Fields): boolean {
  const { elicitation } = declared;
  // An elicitation capability that names no mode means forms (MCP 2026-07-28, client/elicitation, "Capabilities").
  const isPlain = isObject(elicitation) && elicitation.form === undefined && elicitation.url === undefined;
  return includes(isPlain ? { ...declared, elicitation: { form: {} } } : declared, required);
}

function includes(declared: unknown, required: unknown): boolean {
  if (!isObject(declared) || !isObject(required)) return false;
  return Object.entries(required).every(([name, inner]) => includes(declared[name], inner));
}

/** The SHA-256 of a JSON value. The order of the keys in an object makes no difference. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value, sorted)).digest('base64url');
}

/** `Object.fromEntries` defines properties, so `__proto__` is a key like any other. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
