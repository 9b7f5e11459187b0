import { tmpdir } from 'node:os';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { MCPServer, MCPTool } from 'mcp-framework';
import { INFO } from '../tools/info.mjs';
import { tools } from '../tools/tools.mjs';
// It checks schemas by `instanceof`, so they must come from its own copy of zod 3.
import { z } from '../node_modules/mcp-framework/node_modules/zod/index.js';
import { freePort, urlOf } from './listening.mjs';

/** mcp-framework on its `http-stream` transport. It takes tools as classes. */
export async function start({ tools: count }) {
  const port = await freePort();
  const server = new MCPServer({
    ...INFO,
    // It loads tools from below this directory, which has none; the benchmark's tools are added below.
    basePath: mkdtempSync(join(tmpdir(), 'bench-mcp-framework-')),
    logging: true,
    transport: { type: 'http-stream', options: { port, host: '127.0.0.1' } },
  });
  let anyTool;
  for (const { name, description, shape, run } of tools(count)) {
    server.addTool(
      class extends MCPTool {
        name = name;
        description = description;
        schema = z.object(shape(z));
        // A string is returned as text, not as JSON.
        useStringify = false;

        constructor() {
          super();
          anyTool = this;
        }

        execute(input) {
          return run(input, (progress, total) => this.reportProgress(progress, total));
        }
      },
    );
  }
  // Resolves when the server has stopped.
  void server.start();
  await listening(port);
  return { url: urlOf(port), notify: (data) => anyTool.log('info', data) };
}

/** Polls its health endpoint, because it has no event for listening. */
async function listening(port) {
  for (;;) {
    const answers = await fetch(`http://127.0.0.1:${port}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (answers) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
