import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';

/** The stream of a response of HTTP/2's compatibility layer; undefined in HTTP/1. */
export function streamOf(res: ServerResponse): ServerHttp2Stream | undefined {
  return res.req.httpVersionMajor < 2 ? undefined : (res as Partial<Http2Response>).stream;
}

/**
 * Gives a response of HTTP/2 what `http.ServerResponse` has, and Node's compatibility layer leaves out: `destroyed`, `closed`,
 * `writableNeedDrain`, a `setTimeout` that returns the response, and a `destroy` that tells the client that its reply is not
 * whole.
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
        // Without a code it would be NO_ERROR, as at the end of a reply that is whole (RFC 9113, 7).
        if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
        return res;
      },
    },
    setTimeout: {
      configurable: true,
      writable: true,
      value: (ms: number, listener?: () => void) => {
        // Node has the response emit the stream's `timeout`.
        stream.setTimeout(ms);
        return listener === undefined ? res : res.on('timeout', listener);
      },
    },
  });
}

/**
 * Whether the client may not have all of a reply that was ended: the connection, or the stream, was broken off.
 *
 * In HTTP/1 a destroyed socket says of every response that all was written (`writableFinished`), as its buffer is empty. In
 * HTTP/2 `req.socket` is a stand-in for the stream, which is destroyed at every end.
 */
export function isCutOff(res: ServerResponse): boolean {
  const stream = streamOf(res);
  if (stream === undefined) return res.req.socket.destroyed;
  return stream.rstCode !== constants.NGHTTP2_NO_ERROR || !stream.writableFinished;
}

interface Http2Response {
  readonly stream: ServerHttp2Stream;
}
