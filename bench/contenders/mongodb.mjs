import { NoopLogger, NoopMetrics } from '@mongodb-js/mcp-core';
import { MCPHttpServer } from '@mongodb-js/mcp-http-runners';
import { v2Factory } from '../tools/sdk-v2.mjs';
import { BODY_LIMIT } from './limits.mjs';
import { openServers } from './open-servers.mjs';

/** The HTTP server of MongoDB's MCP server, with the benchmark's tools. */
export async function start(settings) {
  const servers = openServers(v2Factory(settings));

  class Runner extends MCPHttpServer {
    async createServerForRequest() {
      const mcpServer = servers.create();
      return {
        mcpServer,
        register: async () => undefined,
        connect: (transport) => mcpServer.connect(transport),
        close: () => mcpServer.close(),
      };
    }
  }

  const runner = new Runner({
    options: { http: { port: 0, host: '127.0.0.1', responseType: 'sse', bodyLimit: BODY_LIMIT } },
    logger: new NoopLogger(),
    metrics: new NoopMetrics(),
    sessionOptions: { maxSessions: 100_000 },
  });
  await runner.start();
  return { url: `${runner.serverAddress}/mcp`, notify: servers.notify };
}
