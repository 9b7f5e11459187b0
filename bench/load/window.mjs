import { cpuMs } from '../run/cpu.mjs';

/**
 * What came of some work.
 *
 * @typedef {object} Window
 * @property {number} count How many times it was done.
 * @property {number} elapsedMs
 * @property {number} cpuMs What this process took for it, all threads together.
 * @property {number} p50 In ms.
 * @property {number} p99 In ms.
 */

/**
 * The value that so large a share of the others does not exceed (nearest rank).
 *
 * @param {Float64Array} sorted
 * @param {number} share
 */
const percentile = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;

/**
 * Measures some work.
 *
 * @param {(done: (ms: number) => void) => Promise<unknown>} work Tells how long each time took.
 * @returns {Promise<Window>}
 */
export async function measured(work) {
  const latencies = [];
  const cpuBefore = cpuMs();
  const startedAt = performance.now();
  await work((ms) => latencies.push(ms));
  const elapsedMs = performance.now() - startedAt;
  const cpu = cpuMs() - cpuBefore;
  const sorted = Float64Array.from(latencies).sort();
  return {
    count: latencies.length,
    elapsedMs,
    cpuMs: cpu,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
  };
}

/**
 * A closed loop: each connection does the work again as soon as it is done, for so long; nothing is cut off at the end.
 *
 * @template Connection
 * @param {Connection[]} connections
 * @param {number} ms
 * @param {(connection: Connection) => Promise<unknown>} once
 * @returns {Promise<Window>}
 */
export function loop(connections, ms, once) {
  const endAt = performance.now() + ms;
  return measured((done) =>
    Promise.all(
      connections.map(async (connection) => {
        let from = performance.now();
        do {
          await once(connection);
          const now = performance.now();
          done(now - from);
          from = now;
        } while (from < endAt);
      }),
    ),
  );
}

/**
 * The same for so many times altogether.
 *
 * @template Connection
 * @param {Connection[]} connections
 * @param {number} count
 * @param {(connection: Connection) => Promise<unknown>} once
 * @returns {Promise<Window>}
 */
export function repeat(connections, count, once) {
  let left = count;
  return measured((done) =>
    Promise.all(
      connections.map(async (connection) => {
        while (left-- > 0) {
          const from = performance.now();
          await once(connection);
          done(performance.now() - from);
        }
      }),
    ),
  );
}
