/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

// EXPRESS=4 runs the same suites against Express 4, which is installed as `express4` beside Express 5.
const express4 = process.env.EXPRESS === '4' ? { '^express$': 'express4' } : {};

// HTTP=node runs the suites of http and faults without Express, through `createMcpEndpoint` on plain node:http. The suites of
// Express itself are excluded.
const onNode = process.env.HTTP === 'node';
const OF_EXPRESS = [
  'http/server', // createHttpServer, which makes Express apps faster
  'http/hidden-class', // the prototypes of Express
  'http/mount', // how mcpRouter is mounted
  'http/error-handler', // the errors of Express' middleware
  'http/middleware', // packages that need the properties of Express' requests
  'http/surroundings', // an adapter for Express apps
];
/** These suites would repeat the run with Express: they use no HTTP, or start processes with Express. */
const INDEPENDENT = [
  'http/classify',
  'http/guard',
  'http/identity',
  'http/body-memory',
  'http/few-descriptors',
  'faults/user-code',
];
const plainNode = {
  '^express$': '<rootDir>/__tests__/support/node-app.ts',
  '/src/index\\.js$': '<rootDir>/__tests__/support/node-entry.ts',
};

const config: Config = {
  testEnvironment: 'node',
  testMatch: onNode ? ['<rootDir>/__tests__/{http,faults}/*.test.ts'] : ['<rootDir>/__tests__/**/*.test.ts'],
  ...(onNode && { testPathIgnorePatterns: [...OF_EXPRESS, ...INDEPENDENT].map((name) => `/${name}[.]test`) }),
  moduleNameMapper: {
    ...express4,
    ...(onNode ? plainNode : {}),
    '^express-mcp-router$': '<rootDir>/src/index.ts',
    '^express-mcp-router/(admin|stores|testing)$': '<rootDir>/src/$1/index.ts',
    '^express-mcp-router/(node|otel|v2)$': '<rootDir>/src/$1.ts',
    '^express-mcp-router/redis$': '<rootDir>/src/stores/redis.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: {
    // Types are checked once, by `tsc`; here they are only removed.
    '^.+\\.ts$': [
      'ts-jest',
      {
        diagnostics: false,
        tsconfig: {
          module: 'commonjs',
          moduleResolution: 'bundler',
          isolatedModules: true,
          target: 'ES2022',
          esModuleInterop: true,
          ignoreDeprecations: '6.0',
        },
      },
    ],
  },
  // Jest's default leaves one core of two idle.
  maxWorkers: '100%',
  // A test file that sends requests leaves 5 to 17 MB that even a forced collection does not free, and so does a copy of the file
  // after it (`node --expose-gc node_modules/.bin/jest -i --logHeapUsage`). A file that only opens and closes a router leaves none. To
  // collect a large heap takes long, so Jest restarts a worker at this size.
  workerIdleMemoryLimit: '1GB',
  collectCoverageFrom: ['src/**/*.ts'],
  coverageThreshold: { global: { branches: 95 } },
  // Longer than any single wait (`__tests__/support/waiting.ts`), so that the wait fails first, with a message that names its condition.
  testTimeout: 120_000,
};

export default config;
