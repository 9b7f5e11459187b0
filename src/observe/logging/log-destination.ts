import { pino, type DestinationStream } from 'pino';
import type { Clock } from '../../runtime/clock.js';

/** Bytes that may wait while the file or pipe accepts none. A line beyond that is lost. */
const MAX_WAITING = 64 * 1024;

/** The interval at which writing the waiting bytes is repeated, in ms. */
const RETRY = 200;

/**
 * A destination on stdout that neither ends nor blocks the process: on a full disk (ENOSPC), or when the reader of a pipe is
 * stuck (EAGAIN) or gone (EPIPE).
 *
 * pino's default destination has no `error` listener, so the first error is thrown. When the process exits, its flush retries
 * without end (sonic-boom 4.2.1, `flushSync`). A synchronous destination has nothing to flush.
 *
 * @param onLost - Called for each line that is not written. It must not log.
 * @returns Undefined when `process.stdout.write` has been replaced, as test runners do. pino then writes through that.
 */
export function stdoutDestination(clock: Clock, onLost: () => void, fd?: number): DestinationStream | undefined {
  if (fd === undefined && Object.hasOwn(process.stdout, 'write')) return undefined;
  // Without `retryEAGAIN`, a full pipe blocks the process until its reader reads on.
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

/** A worker thread has no file descriptor for stdout. */
function stdoutFd(): number {
  return (process.stdout as { fd?: number }).fd ?? 1;
}
