import http from 'node:http';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { BODY_LIMIT } from './limits.mjs';
import { listen } from './listening.mjs';

/** The SDK's `simpleStatelessStreamableHttp` example, without its logs. */
export async function start(settings) {
  const createServer = sdkFactory(settings);
  const app = express();
  app.use(express.json({ limit: BODY_LIMIT }));
  app.post('/mcp', async (req, res) => {
    const server = createServer();
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    await server.connect(transport);
    res.on('close', () => {
      void transport.close();
      void server.close();
    });
    await transport.handleRequest(req, res, req.body);
  });
  return { url: await listen(http.createServer(app)) };
}
