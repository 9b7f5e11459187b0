// Builds the package twice (ESM and CommonJS, each with its own types) and the example app against the ESM build.
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';

const tsc = (...args) => execFileSync('npx', ['--no-install', 'tsc', ...args], { stdio: 'inherit' });

rmSync('dist', { recursive: true, force: true });
tsc('-p', 'tsconfig.build.json', '--outDir', 'dist/esm');
tsc(
  '-p',
  'tsconfig.build.json',
  '--outDir',
  'dist/cjs',
  '--module',
  'commonjs',
  '--moduleResolution',
  'bundler',
  '--ignoreDeprecations',
  '6.0',
);
writeFileSync('dist/cjs/package.json', '{"type":"commonjs"}\n');
if (!process.argv.includes('--package-only')) tsc('-p', 'example-app/tsconfig.json');
