import http from 'node:http';
import express from 'express';
import { createHttpServer, mcpRouter } from 'express-mcp-router';
import { listen } from './listening.mjs';
import { openServers } from './open-servers.mjs';
import { signIn } from './sign-in.mjs';

/**
 * This package with MCP 2026-07-28 and sessions on one mount. With `servers: 'principal'` each client is a principal.
 *
 * @param {{ fast?: boolean, servers: 'request' | 'principal', byRouter?: boolean }} options `byRouter`: `router.notify` announces.
 * @param {() => any} factory
 * @param {object} [sdk] Of `express-mcp-router/v2`; undefined for bridged servers.
 * @returns {Promise<import('./list.mjs').Running>}
 */
export async function servePerRequest({ fast, servers: sharing, byRouter }, factory, sdk) {
  const servers = openServers(factory);
  const app = express();
  if (sharing === 'principal') app.use(signIn);
  const mcp = mcpRouter({
    serverFactory: servers.create,
    perRequest: { servers: sharing, ...(sdk !== undefined && { sdk }) },
    maxSessions: 100_000,
    metrics: false,
    logger: false,
  });
  app.use('/mcp', mcp);
  return {
    url: await listen(fast ? createHttpServer(app) : http.createServer(app)),
    announce: byRouter ? () => mcp.notify.toolListChanged() : servers.announce,
  };
}
