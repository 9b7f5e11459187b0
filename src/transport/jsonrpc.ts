import type { ErrorType } from '../events.js';
import type { JSONRPCErrorResponse, JSONRPCRequest, JSONRPCResultResponse } from '../protocol/messages.js';
import { RELATED_TASK } from '../protocol/session-era.js';
import { isObject } from '../runtime/checks.js';

/** A response carries a result or an error. */
export type MessageKind = 'request' | 'notification' | 'response';

/** A JSON object whose fields are not checked. */
export type Fields = Readonly<Record<string, unknown>>;

// The SDK's schemas are strict: they refuse a message with any other key. `_meta`, `params`, `result` and `error` are open.
const REQUEST_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params']);
const NOTIFICATION_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'method', 'params']);
const RESULT_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'result']);
const ERROR_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'error']);

/**
 * The kind of JSON-RPC message that a parsed JSON value is. Undefined when it is not a JSON-RPC message.
 *
 * The result equals that of the SDK's own schemas (`JSONRPCRequestSchema` and its siblings, SDK 1.32.2). `Protocol.connect`
 * drops the messages that they refuse. So a request that only the router recognised would never be answered. The checks are
 * written by hand, as every message passes here: the schemas copy what they check, and take many times as long.
 */
export function kindOf(value: unknown): MessageKind | undefined {
  if (!isObject(value) || value.jsonrpc !== '2.0') return undefined;
  if ('method' in value) return kindOfCall(value);
  return isResultResponse(value) || isErrorResponse(value) ? 'response' : undefined;
}

/** Whether {@link kindOf} returns `response`. */
export function isResponse(value: unknown): value is JSONRPCResultResponse | JSONRPCErrorResponse {
  return kindOf(value) === 'response';
}

/** The tool that a request calls, as the client names it. Undefined if it calls none. */
export function toolOf({ method, params }: JSONRPCRequest): string | undefined {
  const name = method === 'tools/call' ? params?.name : undefined;
  return typeof name === 'string' ? name : undefined;
}

function kindOfCall(message: Fields): 'request' | 'notification' | undefined {
  if (typeof message.method !== 'string') return undefined;
  if (message.params !== undefined && !isObjectWithMeta(message.params)) return undefined;
  if (!('id' in message)) return hasOnly(NOTIFICATION_KEYS, message) ? 'notification' : undefined;
  return isStringOrInteger(message.id) && hasOnly(REQUEST_KEYS, message) ? 'request' : undefined;
}

function isResultResponse(message: Fields): boolean {
  return isStringOrInteger(message.id) && isObjectWithMeta(message.result) && hasOnly(RESULT_KEYS, message);
}

/** The ID is missing when that of the request could not be read. It must not be null (MCP 2025-11-25, schema.ts). */
function isErrorResponse(message: Fields): boolean {
  const { id, error } = message;
  if (id !== undefined && !isStringOrInteger(id)) return false;
  if (!isObject(error) || !Number.isSafeInteger(error.code) || typeof error.message !== 'string') return false;
  return hasOnly(ERROR_KEYS, message);
}

/** The shape of `params` and of `result`. Only the fields of `_meta` that the protocol itself reads are checked. */
function isObjectWithMeta(value: unknown): boolean {
  if (!isObject(value)) return false;
  const meta = value._meta;
  if (meta === undefined) return true;
  if (!isObject(meta)) return false;
  if (meta.progressToken !== undefined && !isStringOrInteger(meta.progressToken)) return false;
  const task = meta[RELATED_TASK];
  return task === undefined || (isObject(task) && typeof task.taskId === 'string');
}

/** A copy without the fields of these names. */
export function without(fields: Fields, ...names: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** zod's `int()` means a safe integer. */
function isStringOrInteger(value: unknown): boolean {
  return typeof value === 'string' || Number.isSafeInteger(value);
}

/** Checks inherited keys too, as zod does. Otherwise, with a polluted prototype, the SDK would drop messages accepted here. */
function hasOnly(keys: ReadonlySet<string>, message: Fields): boolean {
  for (const key in message) {
    if (!keys.has(key)) return false;
  }
  return true;
}

/** Why the request failed. Undefined when it succeeded. */
export function errorTypeOf(answer: JSONRPCResultResponse | JSONRPCErrorResponse): ErrorType | undefined {
  if ('error' in answer) return answer.error.code;
  return answer.result.isError === true ? 'tool_error' : undefined;
}

/** Whether the request failed. It did if reading the result throws: such a result cannot be written as JSON either. */
export function isFailure(answer: JSONRPCResultResponse | JSONRPCErrorResponse): boolean {
  try {
    return errorTypeOf(answer) !== undefined;
  } catch {
    return true;
  }
}
