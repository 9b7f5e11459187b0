import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { createHttpServer } from 'express-mcp-router';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { observeByHand } from './by-hand.mjs';
import { BODY_LIMIT } from './limits.mjs';
import { listen } from './listening.mjs';
import { openServers } from './open-servers.mjs';
import { sessionRoute } from './session-route.mjs';

/** The SDK's `simpleStreamableHttp` example, without its event store, its caps and its logs. */
export async function start({ fast, json, observed, ...settings }) {
  const servers = openServers(sdkFactory(settings));
  const { route, sessions } = sessionRoute({
    isInitializeRequest,
    createServer: servers.create,
    createTransport: (onsessioninitialized) =>
      new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        enableJsonResponse: json,
        onsessioninitialized,
      }),
  });
  const app = express();
  app.use(express.json({ limit: BODY_LIMIT }));
  if (observed) observeByHand(app, sessions);
  app.post('/mcp', route);
  app.get('/mcp', route);
  app.delete('/mcp', route);
  const { notify, announce } = servers;
  return { url: await listen(fast ? createHttpServer(app) : http.createServer(app)), notify, announce };
}
