// The attributes of the semantic conventions for MCP (open-telemetry/semantic-conventions-genai, docs/gen-ai/mcp.md).

import type { Attributes, Span } from '@opentelemetry/api';
import { MCP_CODES } from '../../errors.js';
import { PER_REQUEST_VERSIONS } from '../../protocol/per-request-era.js';
import type { OperationEnd, Peer } from '../../options/telemetry.js';
import type { JSONRPCNotification, JSONRPCRequest } from '../../protocol/messages.js';
import { RESOURCE_UPDATED } from '../../protocol/notifications.js';
import { SUPPORTED_PROTOCOL_VERSIONS } from '../../protocol/session-era.js';

/** The label for each value that is not in the list (semantic conventions, `error.type` and `http.request.method`). */
export const OTHER = '_OTHER';

/** Characters of a text that a client chose. */
const MAX_TEXT = 256;
const MAX_URI = 1_024;

/** Methods whose `params.uri` is that of a resource. */
const OF_RESOURCES: ReadonlySet<string> = new Set([
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  RESOURCE_UPDATED,
]);

/** Codes that tell a client of its own mistake. For a server they are no errors (model/mcp/common.yaml, rpc.response.status_code). */
const MISTAKES_OF_CLIENTS: ReadonlySet<number> = new Set([-32700, -32600, -32601, -32602, -32002]);

/**
 * The values that `error.type` and `rpc.response.status_code` have as labels. -1 is the code of a user's refusal (spec 2025-11-25,
 * client/sampling, "Error Handling").
 */
const ENDINGS: ReadonlySet<string> = new Set(['tool_error', 'cancelled', ...[...MCP_CODES, -1].map(String)]);

const VERSIONS: ReadonlySet<string> = new Set([...SUPPORTED_PROTOCOL_VERSIONS, ...PER_REQUEST_VERSIONS]);

/** The target of an operation: a tool or a prompt. */
export interface Target {
  readonly kind: 'tool' | 'prompt';
  readonly name: string;
}

/** A notification has no target: no server calls a tool for it, whatever its method. */
export function targetOf(message: JSONRPCRequest | JSONRPCNotification): Target | undefined {
  if (!('id' in message)) return undefined;
  const { method, params } = message;
  const kind = method === 'tools/call' ? 'tool' : method === 'prompts/get' ? 'prompt' : undefined;
  const name = params?.name;
  return kind === undefined || typeof name !== 'string' ? undefined : { kind, name: bounded(name) };
}

// The functions below add to an object, or to a span: to copy objects with such names costs more than the rest of a span.

/** The attributes that spans and metrics have in common. */
export function operationAttributes(method: string, target: Target | undefined): Attributes {
  const name = target?.name;
  if (method === 'tools/call') {
    if (name === undefined) return { 'mcp.method.name': method, 'gen_ai.operation.name': 'execute_tool' };
    return { 'mcp.method.name': method, 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': name };
  }
  return name === undefined ? { 'mcp.method.name': method } : { 'mcp.method.name': method, 'gen_ai.prompt.name': name };
}

export function resourceUriOf({ method, params }: JSONRPCRequest | JSONRPCNotification): string | undefined {
  const uri = OF_RESOURCES.has(method) ? params?.uri : undefined;
  return typeof uri === 'string' ? bounded(uri, MAX_URI) : undefined;
}

/** HTTP runs on TCP here: Node has no HTTP/3. */
export function addNetwork(attributes: Attributes, httpVersion: string | undefined): void {
  attributes['network.transport'] = 'tcp';
  attributes['network.protocol.name'] = 'http';
  if (httpVersion !== undefined) attributes['network.protocol.version'] = httpVersion === '2.0' ? '2' : httpVersion;
}

/** A port is of no use without its address. */
export function setPeer(span: Span, { address, port }: Peer): void {
  if (address === undefined) return;
  span.setAttribute('client.address', address);
  if (port !== undefined) span.setAttribute('client.port', port);
}

/** How an operation ended. */
export interface Ending {
  /** `error.type`. Undefined when it did not fail. */
  readonly error: string | undefined;
  /** `rpc.response.status_code`. */
  readonly statusCode: string | undefined;
  /** The text of the error. */
  readonly message: { readonly message: string } | undefined;
}

const WELL: Ending = { error: undefined, statusCode: undefined, message: undefined };
const TOOL_ERROR: Ending = { ...WELL, error: 'tool_error' };
/** A client may take back its own request. A server that takes back its question has not got an answer. */
const CANCELLED: Ending = { ...WELL, error: 'cancelled' };

/** @param by - Which side answers. For a client's question each code is an error, for a server's answer not each. */
export function endingOf(answer: OperationEnd, by: 'client' | 'server'): Ending {
  if (answer === undefined) return by === 'client' ? CANCELLED : WELL;
  if ('result' in answer) return answer.result.isError === true ? TOOL_ERROR : WELL;
  const { code, message } = answer.error;
  const statusCode = String(code);
  const isMistakeOfClient = answer.isMistakeOfClient === true || MISTAKES_OF_CLIENTS.has(code);
  const isError = by === 'client' || !isMistakeOfClient;
  return { error: isError ? statusCode : undefined, statusCode, message: { message: bounded(message) } };
}

export function addEnding(attributes: Attributes, { error, statusCode }: Ending): void {
  if (error !== undefined) attributes['error.type'] = error;
  if (statusCode !== undefined) attributes['rpc.response.status_code'] = statusCode;
}

/** The ending for a metric. A client may answer with any whole number as the code, and each would be a series of its own. */
export function addEndingLabels(labels: Attributes, { error, statusCode, message }: Ending): void {
  addEnding(labels, { error: endingLabel(error), statusCode: endingLabel(statusCode), message });
}

function endingLabel(value: string | undefined): string | undefined {
  return value === undefined || ENDINGS.has(value) ? value : OTHER;
}

/** The version on which an `initialize` agreed. */
export function agreedVersion(answer: OperationEnd): string | undefined {
  const version = answer !== undefined && 'result' in answer ? answer.result.protocolVersion : undefined;
  return typeof version === 'string' ? bounded(version) : undefined;
}

/** A server may agree on any version that its client asks for, and each would be a series of its own. */
export function versionLabel(version: string): string {
  return VERSIONS.has(version) ? version : OTHER;
}

export function bounded(text: string, most = MAX_TEXT): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}
