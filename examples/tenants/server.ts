// One router, and a server of its own for each tenant (docs/tenants.md).
// npm install express-mcp-router express @modelcontextprotocol/sdk
import { createHash, timingSafeEqual } from 'node:crypto';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express, { type Request } from 'express';
import { HttpError, mcpRouter, stop, type ServerContext } from 'express-mcp-router';

interface Tenant {
  readonly apiKey: string;
  readonly tools: readonly string[];
  readonly isSuspended?: boolean;
}

/** In your app, a table of your database. */
const TENANTS = new Map<string, Tenant>([
  ['acme', { apiKey: 'acme-key', tools: ['forecast', 'invoice'] }],
  ['globex', { apiKey: 'globex-key', tools: ['forecast'] }],
  ['initech', { apiKey: 'initech-key', tools: [], isSuspended: true }],
]);

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** The name of the tenant whose key the request has. Undefined, and so a 401, without a valid one. */
function tenantOf(req: Request): string | undefined {
  const given = digest(req.get('x-api-key') ?? '');
  return [...TENANTS].find(([, { apiKey }]) => timingSafeEqual(digest(apiKey), given))?.[0];
}

function serverFactory({ principal }: ServerContext): McpServer {
  const tenant = TENANTS.get(principal ?? '');
  if (tenant === undefined || tenant.isSuspended === true) {
    throw new HttpError(403, { code: -32010, message: 'This tenant is suspended' });
  }
  const server = new McpServer({ name: `tools of ${principal}`, version: '1.0.0' });
  for (const tool of tenant.tools) {
    server.registerTool(tool, { description: `The ${tool} of ${principal}` }, () => ({
      content: [{ type: 'text', text: `${tool} of ${principal}` }],
    }));
  }
  return server;
}

const app = express();
const mcp = mcpRouter({
  serverFactory,
  perRequest: true,
  principal: tenantOf,
  requirePrincipal: true,
  maxSessionsPerPrincipal: 500, // one tenant cannot take all the room
});
app.use('/mcp', mcp);
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
