import { cpuMs } from '../run/cpu.mjs';

/**
 * The figures of one measurement.
 *
 * @typedef {object} Window
 * @property {number} count Completed repetitions.
 * @property {number} elapsedMs
 * @property {number} cpuMs CPU time of this process, all threads.
 * @property {number} p50 In ms.
 * @property {number} p99 In ms.
 */

/**
 * Returns a percentile by nearest rank.
 *
 * @param {Float64Array} sorted
 * @param {number} share
 */
const percentile = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;

/**
 * Measures a task.
 *
 * @param {(done: (ms: number) => void) => Promise<unknown>} work Calls `done` with the duration of each repetition.
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
 * Runs a closed loop for `ms`: each connection repeats the task at once. The last repetitions are completed.
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
 * Runs a closed loop until the connections have made `count` repetitions together.
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
