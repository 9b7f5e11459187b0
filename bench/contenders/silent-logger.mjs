import { devNull } from 'node:os';
import pino from 'pino';

/** A logger that does all its work, and writes to where nothing is kept. */
export const silentLogger = () => pino({ level: 'info' }, pino.destination(devNull));
