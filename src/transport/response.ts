import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { setImmediate as endOfTurn } from 'node:timers/promises';
import { Refusal } from '../errors.js';

/** The stream of a response of HTTP/2's compatibility layer; undefined in HTTP/1. */
export function streamOf(res: ServerResponse): ServerHttp2Stream | undefined {
  return res.req.httpVersionMajor < 2 ? undefined : (res as Partial<Http2Response>).stream;
}

/**
 * Adds to a response of HTTP/2 the parts of `http.ServerResponse` that Node's compatibility layer lacks: `destroyed`, `closed`,
 * `writableNeedDrain`, and a `setTimeout` that returns the response. Its `destroy` tells the client that the reply is incomplete.
 */
export function completeHttp2({ httpVersionMajor }: IncomingMessage, res: ServerResponse): void {
  if (httpVersionMajor < 2) return;
  const { stream } = res as unknown as Http2Response;
  const isOver = { configurable: true, get: () => stream.closed || stream.destroyed };
  Object.defineProperties(res, {
    destroyed: isOver,
    closed: isOver,
    writableNeedDrain: { configurable: true, get: () => stream.writableNeedDrain },
    destroy: {
      configurable: true,
      writable: true,
      value: () => {
        // The default code, NO_ERROR, would look like the end of a complete reply (RFC 9113, 7).
        if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
        return res;
      },
    },
    setTimeout: {
      configurable: true,
      writable: true,
      value: (ms: number, listener?: () => void) => {
        // Node makes the response emit the `timeout` of the stream.
        stream.setTimeout(ms);
        return listener === undefined ? res : res.on('timeout', listener);
      },
    },
  });
}

/**
 * Whether the connection, or the HTTP/2 stream, broke before the client had all of a reply.
 *
 * In HTTP/1, `writableFinished` is true for every response of a destroyed socket, as its buffer is empty. In HTTP/2,
 * `req.socket` stands for the stream, which is destroyed at every end.
 */
export function isCutOff(res: ServerResponse): boolean {
  const stream = streamOf(res);
  if (stream === undefined) return res.req.socket.destroyed;
  return stream.rstCode !== constants.NGHTTP2_NO_ERROR || !stream.writableFinished;
}

interface Http2Response {
  readonly stream: ServerHttp2Stream;
}

/**
 * Ends a response without waiting for its reader.
 *
 * A response that waits behind another on its connection (pipelining) has no socket yet. Node only marks it as destroyed. It
 * keeps the written text and emits no `close` until the response before it ends. So the connection is destroyed at once.
 */
export function breakOff(res: ServerResponse): void {
  const queued = res.socket === null && !res.writableFinished;
  res.destroy();
  if (queued) res.req.socket.destroy();
}

/**
 * Answers with a status and no body, at the end of the turn of the event loop, for the same reason as {@link Reply}.
 *
 * @param owner - The session that answers, if one does.
 * @throws Refusal `storeUnavailable` when another node may own the session.
 */
export async function replyEmpty(
  res: ServerResponse,
  status: number,
  owner?: { readonly mayNotRespond: boolean },
): Promise<void> {
  await endOfTurn();
  // Other middleware may have answered already (a time-out, say).
  if (res.destroyed || res.headersSent) return;
  if (owner?.mayNotRespond === true) throw new Refusal('storeUnavailable');
  res.statusCode = status;
  res.end();
}
