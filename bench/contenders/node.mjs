import http from 'node:http';
import { listen } from './listening.mjs';
import { answerSameBytes } from './same-bytes.mjs';

/** The upper limit: bare `node:http`, without Express and MCP. */
export async function start() {
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      answerSameBytes(JSON.parse(Buffer.concat(chunks).toString()), res, req.headers['mcp-session-id']);
    });
  });
  return { url: await listen(server) };
}
