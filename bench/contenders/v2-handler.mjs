import http from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler } from '@modelcontextprotocol/server';
import express from 'express';
import { v2Factory } from '../tools/sdk-v2.mjs';
import { BODY_LIMIT } from './limits.mjs';
import { listen } from './listening.mjs';

/** The example for Express in the documentation of SDK v2 ("Mount the handler"). */
export async function start(settings) {
  const handler = createMcpHandler(v2Factory(settings));
  const handle = toNodeHandler(handler);
  const app = express();
  app.use(express.json({ limit: BODY_LIMIT }));
  app.all('/mcp', (req, res) => void handle(req, res, req.body));
  return { url: await listen(http.createServer(app)), announce: () => handler.notify.toolsChanged() };
}
