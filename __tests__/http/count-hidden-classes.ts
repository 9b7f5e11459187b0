import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { runInThisContext } from 'node:vm';
import type { Express } from '../support/expresses.js';
import { serve, SERVINGS } from './servings.js';

// A program for `node --allow-natives-syntax`. Prints the number of hidden classes of an app's last requests and responses.
// Arguments: the module name of Express, and the name of the serving.

const APPS = 4;
const REQUESTS = 20;
const COMPARED = 10;

// Only V8 knows hidden classes, and neither a bundler nor TypeScript parses this syntax.
const haveOneHiddenClass = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: object, b: object) => boolean;

function hiddenClassesOf(objects: readonly object[]): number {
  const found: object[] = [];
  for (const object of objects) if (!found.some((other) => haveOneHiddenClass(other, object))) found.push(object);
  return found.length;
}

async function countInOneApp(express: Express, servingName: string): Promise<number> {
  const serving = new Map(SERVINGS).get(servingName);
  assert(serving);
  const seen: { req: object; res: object }[] = [];
  // The middleware sets a property, as most do.
  const app = await serve(express, serving, (req, res, next) => {
    seen.push({ req: Object.assign(req, { user: 'alice' }), res });
    next();
  });
  for (let i = 0; i < REQUESTS; i++) assert.equal((await app.ping()).status, 200);
  await app.stop();
  const last = seen.slice(-COMPARED);
  assert.equal(last.length, COMPARED);
  return hiddenClassesOf(last.map(({ req }) => req)) + hiddenClassesOf(last.map(({ res }) => res));
}

const [, , moduleName = '', servingName = ''] = process.argv;
const express = createRequire(import.meta.url)(moduleName) as Express;
// In one app of 64, V8 has no room for both classes. It may also clear that room between requests, so the best count is taken.
const counts: number[] = [];
for (let app = 0; app < APPS; app++) counts.push(await countInOneApp(express, servingName));
console.log(Math.min(...counts));
