import { devNull } from 'node:os';
import pino from 'pino';

/** A logger that formats all lines, and writes them to a destination that discards them. */
export const silentLogger = () => pino({ level: 'info' }, pino.destination(devNull));
