// Imports run one way, from the top level to the bottom. What is not allowed here is refused, so a new folder must first be
// given its level.

/** Below every level: all may import them. `options` names types of the stores. */
const LEAVES =
  '^src/(errors|events|http-error)[.]ts$|^src/(protocol|runtime|options)/|^src/stores/(session-store|redis-client)[.]ts$';

/** From the top down. Parts on the same level do not import one another. */
const LEVELS = [
  ['index', 'node', 'v2', 'otel', 'admin'],
  ['common-exports'],
  ['express'],
  ['mcp-endpoint'],
  ['lifecycle'],
  ['cluster'],
  ['endpoint', 'observe'],
  ['http'],
  ['notify', 'inspection'],
  ['sessions'],
  ['transport'],
  ['stores'],
];

const path = (names) => `^src/(${names.join('|')})([.]ts$|/)`;

/** Its code or its types, under any name of a package manager. */
const EXPRESS = 'node_modules/(@types/)?express(4|-serve-static-core)?/';

/** Both versions of the SDK. An app may have either, so the package works without. */
const SDK = 'node_modules/@modelcontextprotocol/';

/** An app that does not trace has no OpenTelemetry. */
const OPEN_TELEMETRY = 'node_modules/@opentelemetry/';

export default {
  forbidden: [
    { name: 'no-sdk', severity: 'error', from: { pathNot: '^src/v2[.]ts$' }, to: { path: SDK } },
    {
      name: 'open-telemetry-behind-its-entry',
      severity: 'error',
      from: { pathNot: '^src/(otel[.]ts$|observe/telemetry/)' },
      to: { path: `^src/observe/telemetry/|${OPEN_TELEMETRY}` },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'express-in-its-folder-alone',
      severity: 'error',
      from: { pathNot: '^src/(express/|index[.]ts$)' },
      to: { path: `^src/express/|${EXPRESS}` },
    },
    {
      name: 'runtime-stands-alone',
      severity: 'error',
      from: { path: '^src/runtime/' },
      to: { pathNot: '^src/runtime/' },
    },
    {
      // A program of its own: it runs where neither the SDK nor Express is installed, and judges endpoints that are not ours.
      name: 'doctor-stands-alone',
      severity: 'error',
      from: { path: '^src/doctor/' },
      to: { pathNot: '^src/(doctor|protocol|runtime)/' },
    },
    {
      name: 'cluster-from-forwarding-to-membership',
      severity: 'error',
      from: { path: '^src/cluster/(membership|migration|port)/' },
      to: { path: '^src/cluster/forwarding/' },
    },
    {
      name: 'membership-below-migration-and-port',
      severity: 'error',
      from: { path: '^src/cluster/membership/' },
      to: { path: '^src/cluster/(migration|port)/' },
    },
  ],
  allowed: [
    { from: {}, to: { path: LEAVES } },
    { from: {}, to: { path: `${EXPRESS}|${SDK}|${OPEN_TELEMETRY}` } }, // but for what is forbidden above
    { from: { path: '^src/([^/]+)/' }, to: { path: '^src/$1/' } },
    { from: { path: path(['testing']) }, to: { path: path(['stores']) } }, // an entry of its own, which nothing imports
    ...LEVELS.slice(0, -1).map((level, i) => ({
      from: { path: path(level) },
      to: { path: path(LEVELS.slice(i + 1).flat()) },
    })),
  ],
  allowedSeverity: 'error',
  options: {
    tsPreCompilationDeps: true, // type-only imports count: they bind two parts as much as the others do
    tsConfig: { fileName: 'tsconfig.json' },
    includeOnly: `^src/|${EXPRESS}|${SDK}|${OPEN_TELEMETRY}`,
    doNotFollow: { path: 'node_modules' },
  },
};
