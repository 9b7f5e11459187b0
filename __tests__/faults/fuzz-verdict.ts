import { ERRORS } from '../../src/errors.js';
import { idOf } from '../../src/http/classify.js';
import { messagesOf } from '../support/harness.js';
import type { RawResponse } from '../support/raw-http.js';
import type { FuzzRequest } from './fuzz-requests.js';
import { SECRET, THE_APP } from './fuzz-world.js';

type Message = Readonly<Record<string, unknown>>;

/** What Node answers in the router's place (docs/http.md, "What never reaches the router"). */
const NODES_OWN = new Set([400, 408, 413, 417, 431]);

/**
 * Names the answer, for the statistics.
 *
 * @throws Error when it is none that docs/http.md knows, or none to this request.
 */
export function verdictOn(request: FuzzRequest, response: RawResponse): string {
  const { status, headers, body } = response;
  const type = headers.get('content-type');
  if (body.includes(SECRET) || response.head.includes(SECRET)) throw new Error('it tells what went wrong inside');
  if (/<!doctype|<html|<pre/i.test(body)) throw new Error('it is HTML');
  if (/\n\s+at .*:\d+/.test(body)) throw new Error('it shows a stack');

  if (body === THE_APP) return `${status} ${THE_APP}`;
  if (request.lastOnSocket && type === undefined && body === '' && NODES_OWN.has(status)) return `${status} Node`;
  if (status === 200 && type?.startsWith('text/plain') === true && body.includes('mcp_sessions_active'))
    return '200 metrics';
  if (status === 405 && type?.startsWith('text/plain') === true) return '405 metrics';
  if (request.method === 'HEAD') return headVerdict(response);
  if (body === '') return emptyVerdict(request, response);
  if (status === 200) return `200 ${type} ${replyVerdict(request, response)}`;

  const error = JSON.parse(body) as Message;
  const row = Object.entries(ERRORS).find(([, { code, message, ...row }]) => {
    const told = error.error as Message;
    const keys = Object.keys(told)
      .filter((key) => key !== 'data')
      .join();
    return row.status === status && keys === 'code,message' && told.code === code && told.message === message;
  });
  if (row === undefined || type !== 'application/json') throw new Error('it is no row of the error table');
  if (error.id !== null && !knows(request, error.id)) throw new Error('its ID is not that of the request');
  return `${status} ${row[0]}`;
}

function headVerdict({ status, body }: RawResponse): string {
  if (body !== '' || ![200, 299, 403, 405, 500].includes(status)) throw new Error('that is no answer to HEAD');
  return `${status} HEAD`;
}

function emptyVerdict({ method, damage }: FuzzRequest, { status, headers }: RawResponse): string {
  if (status === 202 || status === 204) return String(status);
  if (status === 200 && headers.get('content-type') === 'text/event-stream')
    return '200 text/event-stream, ended empty';
  if (status === 200 && (method === 'DELETE' || damage !== undefined)) return '200 DELETE';
  throw new Error('it is empty');
}

/** Each message is JSON-RPC, and each answer is to a request of the client's own, and the only one to it. */
function replyVerdict(request: FuzzRequest, { headers, body }: RawResponse): string {
  const json = headers.get('content-type') === 'application/json';
  if (!json && headers.get('content-type') !== 'text/event-stream') throw new Error('it is neither JSON nor SSE');
  const messages = (json ? [JSON.parse(body) as unknown].flat() : messagesOf(body)) as Message[];
  if (messages.some(({ jsonrpc }) => jsonrpc !== '2.0')) throw new Error('it holds a message that is no JSON-RPC');
  const answers = messages.filter((message) => !('method' in message));
  const ids = answers.map(({ id }) => JSON.stringify(id));
  if (new Set(ids).size < ids.length) throw new Error('it answers a request twice');
  if (answers.some(({ id }) => !knows(request, id))) throw new Error('it answers a request of another client');
  const internal = answers.some(
    ({ error }) => (error as Message | undefined)?.message === ERRORS.internalError.message,
  );
  return internal ? 'with an internal error' : answers.length === 0 ? 'without an answer' : 'with answers';
}

/** Whether the request holds a message with this ID. Chunked or damaged, it is not read again here; `express.json()` takes a BOM off. */
function knows({ body, headers, damage }: FuzzRequest, id: unknown): boolean {
  if (body === undefined) return false;
  if (damage !== undefined || headers.some(([name]) => name === 'Transfer-Encoding')) return true;
  const messages = [JSON.parse(body.toString().replace(/^\ufeff/, '')) as unknown].flat();
  return messages.some((message) => idOf(message) === id);
}
