import { pino, type DestinationStream } from 'pino';
import type { Clock } from '../clock.js';

/** Bytes that may wait for a file or a pipe that takes nothing now; a line that would be more is lost. */
const MAX_WAITING = 64 * 1024;

/** How soon what waits is tried again, in ms. */
const RETRY = 200;

/**
 * Stdout as a destination that cannot end the process, nor hold it up: on a full disk (ENOSPC), with a reader that is stuck
 * (EAGAIN) or gone (EPIPE).
 *
 * pino's own default has no listener for errors, so that the first one is thrown; and when the process exits, its flush
 * tries again without end (sonic-boom 4.2.1, `flushSync`). A synchronous one has nothing to flush.
 *
 * @param onLost - Told of each line that is not written. It must not log.
 * @returns Undefined where something has replaced `process.stdout.write`, as test runners do: pino writes through that then.
 */
export function stdoutDestination(clock: Clock, onLost: () => void, fd?: number): DestinationStream | undefined {
  if (fd === undefined && Object.hasOwn(process.stdout, 'write')) return undefined;
  // Without `retryEAGAIN`, a full pipe would block the process until its reader goes on.
  const stream = pino.destination({
    dest: fd ?? stdoutFd(),
    sync: true,
    maxLength: MAX_WAITING,
    retryEAGAIN: () => false,
  });
  let gone = false;
  let retrying = false;

  const retry = (): void => {
    retrying = false;
    stream.write('');
  };
  stream.on('drop', onLost);
  stream.on('error', ({ code }: NodeJS.ErrnoException) => {
    gone ||= code === 'EPIPE';
    if (gone || retrying) return;
    retrying = true;
    clock.setTimeout(retry, RETRY);
  });
  return {
    write: (line) => {
      if (gone) onLost();
      else stream.write(line);
    },
  };
}

/** A worker thread has no file descriptor of its own for it. */
function stdoutFd(): number {
  return (process.stdout as { fd?: number }).fd ?? 1;
}
