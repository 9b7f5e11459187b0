// Builds the documentation as a static site into `.cache/site`. With `--dev` it serves the pages while you write them. `--base` names the
// path below which a host serves the site, for example `/express-mcp-router/`.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, createServer } from 'vitepress';
import { writeApiReference } from './api.mjs';
import { problemsOf } from './check.mjs';
import { ROOT } from './pages.mjs';

const SITE = join(ROOT, 'site');

const { values } = parseArgs({ options: { dev: { type: 'boolean' }, base: { type: 'string', default: '/' } } });
const { dev, base } = values;

await writeApiReference();
if (dev) {
  const server = await createServer(SITE, { base });
  await server.listen();
  server.printUrls();
} else {
  await build(SITE, { base });
  const problems = problemsOf(join(ROOT, '.cache/site'), base);
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
