import http from 'node:http';
import express from 'express';
import { createHttpServer, mcpRouter } from 'express-mcp-router';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { listen } from './listening.mjs';
import { openServers } from './open-servers.mjs';
import { silentLogger } from './silent-logger.mjs';

/** This package. */
export async function start({ fast, json, observed, stateless, ...settings }) {
  const servers = openServers(sdkFactory(settings));
  const app = express();
  app.use(
    '/mcp',
    mcpRouter({
      serverFactory: servers.create,
      stateless,
      enableJsonResponse: json,
      maxSessions: stateless ? undefined : 100_000,
      metrics: observed ? {} : false,
      logger: observed ? silentLogger() : false,
    }),
  );
  return { url: await listen(fast ? createHttpServer(app) : http.createServer(app)), notify: servers.notify };
}
