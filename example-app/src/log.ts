import { pino, type Logger } from 'pino';

/** Bytes that are buffered while the file or pipe takes none. Lines beyond that are dropped. */
const MAX_WAITING = 64 * 1024;

/**
 * Creates a logger to stdout that survives a full disk. pino's default destination would end or block the process.
 *
 * @returns The logger, and `lostLines`, which counts the lines that were not written.
 */
export function createLogger(level: string): { logger: Logger; lostLines: () => number } {
  let lost = 0;
  const destination = pino.destination({ sync: true, maxLength: MAX_WAITING, retryEAGAIN: () => false });
  // pino writes the buffered lines again with the next line.
  destination.on('error', () => undefined);
  destination.on('drop', () => (lost += 1));
  // stderr may be the same full file. An unhandled error of it would end the process.
  process.stderr.on('error', () => undefined);
  return { logger: pino({ level }, destination), lostLines: () => lost };
}
