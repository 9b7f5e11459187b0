import { constants } from 'node:os';
import type { Server } from 'node:http';
import { stop, type McpRouter } from 'express-mcp-router';
import type { Logger } from 'pino';
import type { Stores } from './stores.js';
import type { Tracing } from './tracing.js';

/** A Ctrl-C under `npm start` arrives twice, from the terminal and from npm. Signals within this time count as one. */
const SAME_SIGNAL_MS = 500;

interface Running {
  readonly server: Server;
  readonly router: McpRouter;
  readonly stores: Stores;
  /** Undefined: nothing is traced. */
  readonly tracing: Tracing | undefined;
  readonly logger: Logger;
  readonly drainTimeoutMs: number;
}

/** Drains and exits 0 on SIGTERM or SIGINT; on a second one exits at once. */
export function stopOnSignals(running: Running): void {
  let stoppingSince: number | undefined;
  const onSignal = (signal: 'SIGTERM' | 'SIGINT') => {
    if (stoppingSince === undefined) {
      stoppingSince = performance.now();
      running.logger.info({ signal }, 'stopping');
      stopAll(running).then(
        () => process.exit(0),
        (error: unknown) => {
          running.logger.error({ err: error }, 'could not stop in order');
          process.exit(1);
        },
      );
      return;
    }
    if (performance.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(128 + constants.signals[signal]);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** The port stays open while the router drains, because open sessions still need it. `/readyz` answers 503. */
async function stopAll({ server, router, stores, tracing, logger, drainTimeoutMs }: Running): Promise<void> {
  await stop(server, router, { timeoutMs: Math.max(1, drainTimeoutMs) });
  // Last, because the closing router still saves sessions.
  await stores.close();
  await tracing?.stop();
  logger.info('stopped');
}
