import type { JSONRPCErrorResponse, JSONRPCRequest } from '../../../protocol/messages.js';
import { Refusal } from '../../../errors.js';
import { ASKING_METHODS, SERVER_INFO } from '../../../protocol/per-request-era.js';
import { isObject } from '../../../runtime/checks.js';
import type { Fields } from '../../../transport/jsonrpc.js';
import type { ServerFacts } from '../results.js';
import type { BridgeTransport } from './bridge-transport.js';
import { declares, Questions } from './questions.js';
import type { Outcome } from './round.js';

// Codes of 2025-11-25 that must not be sent any more (MCP 2026-07-28, basic/index, "Error Codes").
const RESOURCE_NOT_FOUND = -32002;
const URL_ELICITATION_REQUIRED = -32042;
export const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;

type ErrorObject = JSONRPCErrorResponse['error'];

const URLS = { elicitation: { url: {} } };

/** The outcome for a client of MCP 2026-07-28 when a server of the session era answers with an error. */
export function outcomeOfError(
  error: ErrorObject,
  { method, params }: JSONRPCRequest,
  capabilities: Fields,
  facts: ServerFacts,
): Outcome {
  switch (error.code) {
    case METHOD_NOT_FOUND:
      return outcomeOfMethodNotFound(error);
    case URL_ELICITATION_REQUIRED:
      return urlElicitation(error.data, method, capabilities, facts) ?? { error: { ...error, code: INVALID_PARAMS } };
    case RESOURCE_NOT_FOUND:
    case INVALID_PARAMS:
      return {
        error: { ...error, code: INVALID_PARAMS, ...(method === 'resources/read' && named(error, params?.uri)) },
      };
    default:
      return { error };
  }
}

/** 404 only for the error with which both versions of the SDK answer a method without a handler: a handler may throw others. */
export function outcomeOfMethodNotFound(error: ErrorObject): Outcome {
  // A client may take a 404 for a server of the session era.
  return error.message === 'Method not found' && error.data === undefined ? new Refusal('methodNotFound') : { error };
}

/** The error names the resource that was not found (MCP 2026-07-28, server/resources, "Error Handling"). */
function named({ data }: ErrorObject, uri: unknown): Pick<ErrorObject, 'data'> {
  return { data: data ?? { uri } };
}

/** A handler that wants its user to visit URLs has ended. The retry of its client starts it anew, so nothing is kept. */
function urlElicitation(data: unknown, method: string, capabilities: Fields, facts: ServerFacts): Outcome | undefined {
  const elicitations: unknown = isObject(data) ? data.elicitations : undefined;
  if (!Array.isArray(elicitations) || elicitations.length === 0 || !elicitations.every(isObject)) return undefined;
  if (!ASKING_METHODS.has(method)) return undefined;
  if (!declares(capabilities, URLS)) return new Refusal('missingCapability', { data: { requiredCapabilities: URLS } });
  const questions = new Questions();
  elicitations.forEach((params, id) => questions.add({ jsonrpc: '2.0', id, method: 'elicitation/create', params }));
  return { result: inputRequired(questions, facts) };
}

/** Refuses a question that no client can be asked while it waits for that method. A `ping` is answered. */
export function refuseQuestion(bridge: BridgeTransport, { id, method }: JSONRPCRequest, waitsFor: string): void {
  if (method === 'ping') return bridge.tell({ jsonrpc: '2.0', id, result: {} });
  const message = `A client of MCP 2026-07-28 cannot be asked ${method} while it waits for ${waitsFor}`;
  // Not -32601: a handler that passes the error on would deny its own method.
  bridge.tell({ jsonrpc: '2.0', id, error: { code: INTERNAL_ERROR, message } });
}

/**
 * The result that asks a client (MCP 2026-07-28, basic/patterns/mrtr). It names the server, as every result should (basic/index,
 * "Per-response protocol fields").
 */
export function inputRequired(
  { inputRequests }: Questions,
  { serverInfo }: ServerFacts,
  requestState?: string,
): Fields {
  return {
    resultType: 'input_required',
    inputRequests,
    ...(requestState !== undefined && { requestState }),
    _meta: { [SERVER_INFO]: serverInfo },
  };
}
