import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Closes a response with its socket while the response waits behind another one (pipelining).
 *
 * Up to Node 22, only the current response of a socket emits `close` at the socket's end (`ServerResponse.assignSocket`). The
 * responses behind it never emit it, so that the leases of their sessions would never be released.
 *
 * @param onFailure - Called with the error that a listener of `close` threw. The other responses still close.
 * @returns A function that must be called first with each request.
 */
export function createQueueWatch(
  onFailure: (error: unknown) => void,
): (req: IncomingMessage, res: ServerResponse) => void {
  const queues = new WeakMap<Socket, Set<ServerResponse>>();
  return ({ socket }, res) => {
    // A response that waits behind another one has no socket.
    if (res.socket !== null || res.destroyed) return;
    if (socket.closed) {
      end(res, onFailure);
      return;
    }
    const queue = queues.get(socket) ?? newQueue(socket, onFailure);
    queues.set(socket, queue);
    queue.add(res);
    res.once('close', () => queue.delete(res));
  };
}

/** Adds one listener for all responses of a socket. With one listener each, Node warns of a leak at the eleventh. */
function newQueue(socket: Socket, onFailure: (error: unknown) => void): Set<ServerResponse> {
  const queue = new Set<ServerResponse>();
  socket.once('close', () => {
    for (const res of queue) end(res, onFailure);
  });
  return queue;
}

/** Ends a response as Node ends the current response of a socket. */
function end(res: ServerResponse, onFailure: (error: unknown) => void): void {
  try {
    res.destroy();
    res.emit('close');
  } catch (error) {
    onFailure(error);
  }
}
