/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

// EXPRESS=4 runs the same suites against Express 4, which is installed beside Express 5 under another name.
const express4 = process.env.EXPRESS === '4' ? { '^express$': 'express4' } : {};

const config: Config = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__tests__/**/*.test.ts'],
  moduleNameMapper: {
    ...express4,
    '^express-mcp-router$': '<rootDir>/src/index.ts',
    '^express-mcp-router/(stores|testing)$': '<rootDir>/src/$1/index.ts',
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
  // Jest would leave one core of two idle.
  maxWorkers: '100%',
  // A worker keeps what test files leave in its heap, and each collection of a large heap costs time.
  workerIdleMemoryLimit: '1GB',
  collectCoverageFrom: ['src/**/*.ts'],
  coverageThreshold: { global: { branches: 95 } },
  // Longer than a test waits for any one thing (`__tests__/support/waiting.ts`), which says what did not come.
  testTimeout: 120_000,
};

export default config;
