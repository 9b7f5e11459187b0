import cluster from 'node:cluster';
import { Refusal } from '../errors.js';

const WARNING =
  'a client sent the ID of a session that this worker does not have. Sessions are in the memory of one process: if the app runs ' +
  'in several, set option cluster (docs/recipes.md, "Several processes on one machine")';

/**
 * Whether this process is one of several that share a port: a worker of `node:cluster` (pm2's cluster mode, too), or not the first
 * instance that pm2 started.
 */
function isOneOfMany(): boolean {
  return cluster.isWorker || Number(process.env.NODE_APP_INSTANCE) > 0;
}

/**
 * Makes a function that warns at the first 404 for a session ID in one of several processes. Without the option `cluster`, each
 * connection may reach a process that does not have the client's session.
 *
 * @returns A function that takes the error of each request.
 */
export function createWorkerWarning(warn: (message: string) => void): (error: unknown) => void {
  let isWatching = isOneOfMany();
  return (error) => {
    if (!isWatching) return;
    if (!(error instanceof Refusal) || error.reason !== 'sessionNotFound') return;
    isWatching = false;
    warn(WARNING);
  };
}
