import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Makes sure that a response closes with its socket while it waits behind another one (pipelining).
 *
 * Up to Node 22 only the response whose turn it is hears of the socket's end (`ServerResponse.assignSocket`); the ones in
 * the queue never `close`, and whatever waits for that would wait for ever: a session's lease, above all.
 *
 * @param onFailure - Called with the error that a listener of `close` threw, so that the other responses still close.
 * @returns A function to call with each request before anything else is done with it.
 */
export function createQueueWatch(
  onFailure: (error: unknown) => void,
): (req: IncomingMessage, res: ServerResponse) => void {
  const queues = new WeakMap<Socket, Set<ServerResponse>>();
  return ({ socket }, res) => {
    // A response has no socket until its turn has come.
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

/** One listener for a socket, however many responses wait on it: with one for each, Node warns of a leak at the eleventh. */
function newQueue(socket: Socket, onFailure: (error: unknown) => void): Set<ServerResponse> {
  const queue = new Set<ServerResponse>();
  socket.once('close', () => {
    for (const res of queue) end(res, onFailure);
  });
  return queue;
}

/** What Node does with the response whose turn it is. */
function end(res: ServerResponse, onFailure: (error: unknown) => void): void {
  try {
    res.destroy();
    res.emit('close');
  } catch (error) {
    onFailure(error);
  }
}
