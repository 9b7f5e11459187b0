/**
 * Our contenders that serve MCP 2026-07-28.
 *
 * @typedef {import('./list.mjs').Contender} Contender
 */

/** Subscriptions have a server each, however calls share theirs: one entry stands for both. */
const BOTH = ['per-request-call', 'per-request-listen'];
const CALLS = ['per-request-call'];

/** Both ways to listen. */
const ways = (entry) => [
  entry,
  {
    ...entry,
    name: `${entry.name}-fast`,
    title: `${entry.title}, createHttpServer`,
    options: { ...entry.options, fast: true },
  },
];

/** Both ways to share servers. A shared server is built once for each principal, so it has only the usual factory. */
const sharings = ({ name, title, module }) => [
  {
    name,
    title: `${title}, a server for each request`,
    module,
    options: { servers: 'request' },
    fields: BOTH,
    cheap: true,
  },
  {
    name: `${name}-principal`,
    title: `${title}, a server for each principal`,
    module,
    options: { servers: 'principal' },
    fields: CALLS,
  },
];

/** @type {readonly Contender[]} */
export const OURS_PER_REQUEST = [
  ...sharings({ name: 'native', title: 'ours, SDK v2 natively', module: 'per-request-native' }),
  ...sharings({ name: 'bridged', title: 'ours, SDK v1 bridged', module: 'per-request' }),
  {
    name: 'per-request-session',
    title: 'ours, sessions on the same mount',
    module: 'per-request',
    options: { servers: 'principal' },
    fields: [...BOTH, 'session-reference'],
  },
  {
    name: 'bridged-notify',
    title: 'ours, SDK v1 bridged, router.notify',
    module: 'per-request',
    options: { servers: 'request', byRouter: true },
    fields: ['per-request-listen'],
  },
].flatMap(ways);
