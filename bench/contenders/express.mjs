import http from 'node:http';
import express from 'express';
import { createHttpServer } from 'express-mcp-router';
import { BODY_LIMIT } from './limits.mjs';
import { listen } from './listening.mjs';
import { answerSameBytes } from './same-bytes.mjs';

/** A limit: Express and its body parser, without MCP. */
export async function start({ fast }) {
  const app = express();
  app.use(express.json({ limit: BODY_LIMIT }));
  app.post('/mcp', (req, res) => answerSameBytes(req.body, res, req.headers['mcp-session-id']));
  return { url: await listen(fast ? createHttpServer(app) : http.createServer(app)) };
}
