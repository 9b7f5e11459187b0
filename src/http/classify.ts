import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '../protocol/messages.js';
import { isInitializeParams, type InitializeRequestParams } from '../protocol/session-era.js';
import { Refusal } from '../errors.js';
import { kindOf } from '../transport/jsonrpc.js';

/** The limit of the SDK's transport. Without one, a single body could start a hundred thousand calls. */
const MAX_BATCH = 100;

/** The first version without batches (2025-06-18, changelog). */
const NO_BATCHES_SINCE = '2025-06-18';

/** The messages of a POST. */
export interface Classified {
  readonly messages: readonly JSONRPCMessage[];
  /** Whether they came as an array. */
  readonly batch: boolean;
  /** The only message, if it is an `initialize`. {@link checkInitialize} checks its params. */
  readonly initialize: JSONRPCRequest | undefined;
}

export type Initialize = JSONRPCRequest & { params: InitializeRequestParams };

/**
 * The messages of a parsed body.
 *
 * @throws Refusal when the body is not JSON-RPC 2.0 in the form that MCP allows.
 */
export function classify(body: unknown): Classified {
  if (Array.isArray(body)) return classifyBatch(body);
  const message = checked(body);
  return {
    messages: [message],
    batch: false,
    initialize: isInitialize(message) ? message : undefined,
  };
}

/** @throws Refusal `batchNotAllowed` when the client sent a batch and uses a version without batches. */
export function checkBatch({ batch }: Pick<Classified, 'batch'>, version: string | undefined): void {
  if (batch && version !== undefined && version >= NO_BATCHES_SINCE) throw new Refusal('batchNotAllowed');
}

/** @throws Refusal `invalidInitialize` when the params are not those of an `initialize`. */
export function checkInitialize(message: JSONRPCRequest): Initialize {
  const { params } = message;
  if (!isInitializeParams(params)) throw new Refusal('invalidInitialize', { id: message.id });
  return message as Initialize;
}

/**
 * The ID for an answer to the body. Null when the body has no readable ID, or when it is a response: the ID of a response is
 * the server's own. In an error, the client would take it for the ID of one of its requests.
 */
export function idOf(body: unknown): RequestId | null {
  const isRequest = typeof body === 'object' && body !== null && 'id' in body && 'method' in body;
  const id = isRequest ? body.id : null;
  return typeof id === 'string' || Number.isSafeInteger(id) ? (id as RequestId) : null;
}

/** The RPC method for the log line of a POST. */
export function methodOf({ messages, batch }: Pick<Classified, 'messages' | 'batch'>): string {
  if (batch) return 'batch';
  const [message] = messages;
  return message !== undefined && 'method' in message ? message.method : 'response';
}

function classifyBatch(body: readonly unknown[]): Classified {
  if (body.length === 0) throw new Refusal('emptyBatch');
  if (body.length > MAX_BATCH) throw new Refusal('batchTooLarge');
  const messages = body.map((entry) => checked(entry));
  if (messages.some(isInitialize)) throw new Refusal('initializeInBatch');
  return { messages, batch: true, initialize: undefined };
}

function checked(value: unknown): JSONRPCMessage {
  if (kindOf(value) === undefined) throw new Refusal('invalidRequest', { id: idOf(value) });
  return value as JSONRPCMessage;
}

function isInitialize(message: JSONRPCMessage): message is JSONRPCRequest {
  return 'method' in message && message.method === 'initialize' && 'id' in message;
}
