#!/usr/bin/env node
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { main, type Io } from './cli.js';

// The program of package.json. `npx` starts it by a link, so the package is found by the file that the link leads to.
const [, program = '', ...args] = process.argv;
const { version } = createRequire(realpathSync(program))('express-mcp-router/package.json') as { version: string };

const interruption = new AbortController();
process.on('SIGINT', () => {
  // The first one lets the running check end, the second one ends the process at once.
  if (interruption.signal.aborted) process.exit(130);
  interruption.abort();
});

const io: Io = {
  version,
  // https://no-color.org: set, and not empty.
  hasColours: process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '',
  signal: interruption.signal,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
};

main(args, io).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(error);
    process.exitCode = 3;
  },
);
