/**
 * How much of everything.
 *
 * @typedef {object} Sizes
 * @property {number} rounds
 * @property {number} warmMs Of work before each measurement, so that V8 has optimized what it will.
 * @property {number} measureMs
 * @property {number} concurrency Of small requests.
 * @property {number} largeConcurrency Of requests with 1 MiB in them.
 * @property {number} opening How many sessions are opened at once where that is not what is measured.
 * @property {number} sessions Of the works with many sessions.
 * @property {number} streams Standalone streams open at once.
 * @property {number} notifications Sent on each of them.
 * @property {readonly number[]} openSessions
 * @property {readonly [number, number]} idleSessions Memory is told from what so many take more than so few.
 * @property {readonly [number, number]} hibernated The same, of sessions that hibernate.
 * @property {number} woken How many of them are woken.
 * @property {number} settleMs For a process to learn of closed sockets, and for its finalizers to run.
 * @property {number} timeoutMs For a contender to do what takes a second.
 * @property {boolean} reuse Whether a contender's process serves one work after the other.
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
  openSessions: [10, 1000, 10_000],
  idleSessions: [200, 1000],
  hibernated: [1000, 11_000],
  woken: 200,
  settleMs: 150,
  timeoutMs: 120_000,
  reuse: false,
};

/** Enough to see that everything works, and no more: its numbers mean nothing. */
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
  openSessions: [5, 10, 20],
  idleSessions: [5, 15],
  hibernated: [15, 45],
  woken: 10,
  settleMs: 10,
  timeoutMs: 20_000,
  reuse: true,
};
