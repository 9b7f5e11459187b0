import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { NodeStreamableHTTPServerTransport } from '@modelcontextprotocol/node';
import { isInitializeRequest } from '@modelcontextprotocol/server';
import express from 'express';
import { v2Factory } from '../tools/sdk-v2.mjs';
import { BODY_LIMIT } from './limits.mjs';
import { listen } from './listening.mjs';
import { openServers } from './open-servers.mjs';
import { sessionRoute } from './session-route.mjs';

/** The example for sessions in the documentation of SDK v2 ("Pin a client to a session"). */
export async function start(settings) {
  const servers = openServers(v2Factory(settings));
  const { route } = sessionRoute({
    isInitializeRequest,
    createServer: servers.create,
    createTransport: (onsessioninitialized) =>
      new NodeStreamableHTTPServerTransport({ sessionIdGenerator: () => randomUUID(), onsessioninitialized }),
  });
  const app = express();
  app.use(express.json({ limit: BODY_LIMIT }));
  app.post('/mcp', route);
  app.get('/mcp', route);
  app.delete('/mcp', route);
  return { url: await listen(http.createServer(app)), notify: servers.notify };
}
