// Imports run one way: router → http, observe, cluster → sessions → transport → stores, and all may import the leaves.
// What is not allowed here is refused, so a new folder must first be given its place.
const LEAVES =
  '^src/(checks|errors|clock|due-queue|heap|json-depth|events|options|resolve-options|resolve-cluster|user-code|stores/(session-store|redis-client))[.]ts$';

/** From the top down; parts on the same level do not import one another. */
const LEVELS = [['index'], ['router'], ['http', 'observe', 'cluster'], ['sessions'], ['transport'], ['stores']];

const path = (names) => `^src/(${names.join('|')})([.]ts$|/)`;

export default {
  forbidden: [{ name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } }],
  allowed: [
    { from: {}, to: { path: LEAVES } },
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
    includeOnly: '^src/',
  },
};
