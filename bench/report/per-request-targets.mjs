import { entryName } from '../works/work.mjs';

/**
 * @typedef {import('./targets.mjs').Target} Target
 *
 * @typedef {object} Limits
 * @property {number} atLeast
 * @property {number} aim
 */

const CALL = 'per-request-call';
const LISTEN = 'per-request-listen';
const HANDLER = 'v2-handler-modern';
const SESSION = 'per-request-session';

/** @param {string} title @param {Limits} limits @returns {Target} */
const throughput = (title, work, entry, base, limits) => ({
  title,
  better: 'higher',
  ...limits,
  values: (figures) => figures.ratios(work, entry, base, 'throughput'),
});

/** Against ours, which listens the same way. */
const bothAgainstSessions = (title, work, entry, limits) => [
  throughput(`${title}, \`createHttpServer\``, work, `${entry}-fast`, `${SESSION}-fast`, limits),
  throughput(`${title}, \`app.listen\``, work, entry, SESSION, limits),
];

/** A server for each request, held against the SDK's own with the same factory. */
const forEachRequest = (title, entry) => [
  throughput(
    `${title}, \`servers: 'request'\`, schemas shared, against \`createMcpHandler\` with them shared`,
    CALL,
    entryName(entry, 'cheap'),
    entryName(HANDLER, 'cheap'),
    { atLeast: 1.5, aim: 2.5 },
  ),
  throughput(
    `${title}, \`servers: 'request'\`, usual factory, against \`createMcpHandler\` with the same`,
    CALL,
    entry,
    HANDLER,
    { atLeast: 1.2, aim: 1.5 },
  ),
];

const NATIVE = 'MCP 2026-07-28, tools/call, SDK v2 natively';
const BRIDGED = 'MCP 2026-07-28, tools/call, SDK v1 bridged';
const SHARED = "`servers: 'principal'`";
const AGAINST_HANDLER = 'against `createMcpHandler` on Express with the usual factory';

/** @type {readonly Target[]} */
export const PER_REQUEST_TARGETS = [
  throughput(`${NATIVE}, ${SHARED}, ${AGAINST_HANDLER}, \`app.listen\``, CALL, 'native-principal', HANDLER, {
    atLeast: 5,
    aim: 10,
  }),
  throughput(`${NATIVE}, ${SHARED}, ${AGAINST_HANDLER}, \`createHttpServer\``, CALL, 'native-principal-fast', HANDLER, {
    atLeast: 9,
    aim: 18,
  }),
  ...bothAgainstSessions(`${NATIVE}, ${SHARED}, against our own call in a session`, CALL, 'native-principal', {
    atLeast: 0.9,
    aim: 1,
  }),
  ...bothAgainstSessions(`${BRIDGED}, ${SHARED}, against our own call in a session`, CALL, 'bridged-principal', {
    atLeast: 0.85,
    aim: 0.95,
  }),
  ...forEachRequest(NATIVE, 'native'),
  ...forEachRequest(BRIDGED, 'bridged'),
  ...bothAgainstSessions('MCP 2026-07-28, subscriptions, against our own standalone streams', LISTEN, 'bridged', {
    atLeast: 1,
    aim: 1,
  }),
];
