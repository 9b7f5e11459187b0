import { tmpdir } from 'node:os';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { MCPServer, MCPTool } from 'mcp-framework';
import { INFO } from '../tools/info.mjs';
import { tools } from '../tools/tools.mjs';
// It knows a schema by `instanceof`, and so must be given those of its own copy of zod 3.
import { z } from '../node_modules/mcp-framework/node_modules/zod/index.js';
import { freePort, urlOf } from './listening.mjs';

/** mcp-framework on its `http-stream` transport. It takes tools as classes. */
export async function start({ tools: count }) {
  const port = await freePort();
  const server = new MCPServer({
    ...INFO,
    // It loads tools from below this directory; ours are added by hand.
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
        // A text is returned as it is, not as JSON.
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

/** It does not say when it listens. */
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
