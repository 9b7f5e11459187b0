import { pino, type Logger } from 'pino';

/** Bytes that wait for a file or a pipe that takes nothing now. A line beyond that is lost. */
const MAX_WAITING = 64 * 1024;

/**
 * A logger to stdout that neither ends nor blocks the process on a full disk. pino's own default destination does.
 *
 * @returns The logger, and `lostLines`, which counts the lines that were not written.
 */
export function createLogger(level: string): { logger: Logger; lostLines: () => number } {
  let lost = 0;
  const destination = pino.destination({ sync: true, maxLength: MAX_WAITING, retryEAGAIN: () => false });
  // The lines that wait are written with a later one.
  destination.on('error', () => undefined);
  destination.on('drop', () => (lost += 1));
  // stderr may be the same full file: a message to people must not end the process either.
  process.stderr.on('error', () => undefined);
  return { logger: pino({ level }, destination), lostLines: () => lost };
}
