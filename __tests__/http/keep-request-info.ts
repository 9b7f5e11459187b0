import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { post, start } from '../support/harness.js';
import { until } from '../support/waiting.js';

// A program for `node --expose-gc`. Its handler keeps the `requestInfo` of one call. Prints the URL in it once the HTTP request is
// collected, and fails when that stays in memory.

const kept: { url?: URL | undefined }[] = [];
const harness = await start({
  stateless: true,
  serverFactory: () => {
    const server = new McpServer({ name: 'keeps', version: '1.0.0' });
    server.registerTool('keep', {}, ({ requestInfo }) => {
      kept.push(requestInfo!);
      return { content: [] };
    });
    return server;
  },
});

let request: WeakRef<object> | undefined;
harness.http.prependListener('request', (req) => (request = new WeakRef(req)));
await (await post(harness.url, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'keep' } })).text();
harness.http.closeAllConnections();
await until('the request is collected', () => {
  globalThis.gc!();
  return request!.deref() === undefined;
});
for (const { url } of kept) console.log(url?.pathname);
await harness.close();
