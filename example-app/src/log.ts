import { pino, type Logger } from 'pino';

/** Bytes that may wait for a file or a pipe that takes nothing now; a line that would be more is lost. */
const MAX_WAITING = 64 * 1024;

/**
 * A logger to stdout that neither ends nor holds up the process on a full disk, as pino's own default does.
 *
 * `lostLines` gives how many lines were not written.
 */
export function createLogger(level: string): { logger: Logger; lostLines: () => number } {
  let lost = 0;
  const destination = pino.destination({ sync: true, maxLength: MAX_WAITING, retryEAGAIN: () => false });
  // What waits is written with the next line that can be.
  destination.on('error', () => undefined);
  destination.on('drop', () => (lost += 1));
  // Where stderr is the same full file, what is said to people must not end the process either.
  process.stderr.on('error', () => undefined);
  return { logger: pino({ level }, destination), lostLines: () => lost };
}
