import {
  isInitializeRequest,
  type InitializeRequestParams,
  type JSONRPCMessage,
  type JSONRPCRequest,
  type RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import { kindOf } from '../transport/jsonrpc.js';

/** The same bound as the SDK's transport has: one body must not become a hundred thousand calls. */
const MAX_BATCH = 100;

/** The first version without batches (2025-06-18, changelog). */
const NO_BATCHES_SINCE = '2025-06-18';

/** What a POST asks for. */
export type Classified =
  | { readonly kind: 'initialize'; readonly message: JSONRPCRequest; readonly params: InitializeRequestParams }
  | { readonly kind: 'messages'; readonly messages: readonly JSONRPCMessage[]; readonly batch: boolean };

/**
 * Tells what a parsed body asks for. The one place that knows how the protocol's eras differ on the wire: a client of the
 * next one (2026-07-28) sends no `initialize`, and falls back to it when it is refused for having no session.
 *
 * @throws Refusal for everything that is not JSON-RPC 2.0 as MCP has it.
 */
export function classify(body: unknown): Classified {
  if (Array.isArray(body)) return classifyBatch(body);
  const message = checked(body);
  return isInitialize(message)
    ? { kind: 'initialize', ...initializeOf(message) }
    : { kind: 'messages', messages: [message], batch: false };
}

/** @throws Refusal when a client speaks a version that has no batches, and sent one. */
export function checkBatch(classified: Classified, version: string | undefined): void {
  if (classified.kind === 'messages' && classified.batch && version !== undefined && version >= NO_BATCHES_SINCE) {
    throw new Refusal('batchNotAllowed');
  }
}

/**
 * The ID that an answer to the body would have; null where none can be read. That of a response is the server's own: in an
 * error, the client would take it for one of its requests'.
 */
export function idOf(body: unknown): RequestId | null {
  const isRequest = typeof body === 'object' && body !== null && 'id' in body && 'method' in body;
  const id = isRequest ? body.id : null;
  return typeof id === 'string' || Number.isSafeInteger(id) ? (id as RequestId) : null;
}

/** The RPC method of a single message, for logs. */
export function methodOf(classified: Classified): string {
  if (classified.kind === 'initialize') return 'initialize';
  if (classified.batch) return 'batch';
  const [message] = classified.messages;
  return message !== undefined && 'method' in message ? message.method : 'response';
}

function classifyBatch(body: readonly unknown[]): Classified {
  if (body.length === 0) throw new Refusal('emptyBatch');
  if (body.length > MAX_BATCH) throw new Refusal('batchTooLarge');
  const messages = body.map((entry) => checked(entry));
  if (messages.some(isInitialize)) throw new Refusal('initializeInBatch');
  return { kind: 'messages', messages, batch: true };
}

function checked(value: unknown): JSONRPCMessage {
  if (kindOf(value) === undefined) throw new Refusal('invalidRequest', { id: idOf(value) });
  return value as JSONRPCMessage;
}

function isInitialize(message: JSONRPCMessage): message is JSONRPCRequest {
  return 'method' in message && message.method === 'initialize' && 'id' in message;
}

function initializeOf(message: JSONRPCRequest): { message: JSONRPCRequest; params: InitializeRequestParams } {
  if (!isInitializeRequest(message)) throw new Refusal('invalidInitialize', { id: message.id });
  return { message, params: message.params };
}
