/**
 * The sizes of one run.
 *
 * @typedef {object} Sizes
 * @property {number} rounds
 * @property {number} warmMs Warm-up before each measurement, so that V8 has optimized the code.
 * @property {number} measureMs
 * @property {number} concurrency Small requests at once.
 * @property {number} largeConcurrency Requests of 1 MiB at once.
 * @property {number} opening Sessions opened at once, where opening is not measured.
 * @property {number} sessions Sessions of the workloads with many sessions.
 * @property {number} streams Standalone streams open at once.
 * @property {number} notifications Notifications sent on each stream.
 * @property {number} clusterStreams Standalone streams at each node of a cluster.
 * @property {number} clusterNotifications Notifications that one node sends to the streams of all.
 * @property {readonly number[]} openSessions
 * @property {readonly [number, number]} idleSessions Two counts; memory for each session comes from the difference.
 * @property {readonly [number, number]} hibernated The same for hibernated sessions.
 * @property {number} woken Hibernated sessions that are woken.
 * @property {number} settleMs Wait until a process has seen closed sockets and run its finalizers.
 * @property {number} timeoutMs Time-out of a task that usually takes a second.
 * @property {boolean} reuse Whether one process of a contender serves all workloads.
 */

/** @type {Sizes} */
export const FULL = {
  rounds: 7,
  warmMs: 800,
  measureMs: 1000,
  concurrency: 32,
  largeConcurrency: 8,
  opening: 32,
  sessions: 100,
  streams: 1000,
  notifications: 50,
  clusterStreams: 10,
  clusterNotifications: 10_000,
  openSessions: [10, 1000, 10_000],
  idleSessions: [200, 1000],
  hibernated: [1000, 11_000],
  woken: 200,
  settleMs: 150,
  timeoutMs: 120_000,
  reuse: false,
};

/** Only shows whether everything works. The run is too short for meaningful figures. */
export const QUICK = {
  ...FULL,
  rounds: 1,
  warmMs: 0,
  measureMs: 40,
  concurrency: 8,
  largeConcurrency: 2,
  opening: 10,
  sessions: 20,
  streams: 20,
  notifications: 3,
  clusterStreams: 2,
  clusterNotifications: 20,
  openSessions: [5, 10, 20],
  idleSessions: [5, 15],
  hibernated: [15, 45],
  woken: 10,
  settleMs: 10,
  timeoutMs: 20_000,
  reuse: true,
};
