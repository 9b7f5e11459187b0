import { randomUUID } from 'node:crypto';
import { INFO } from '../tools/info.mjs';

/** The head of the router's own SSE replies. */
const HEAD = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
};

const result = ({ method, params }) =>
  method === 'initialize'
    ? {
        protocolVersion: params.protocolVersion,
        capabilities: { logging: {}, tools: { listChanged: true } },
        serverInfo: INFO,
      }
    : { content: [{ type: 'text', text: params.arguments.text }] };

/**
 * Answers with the same bytes as the router, without sessions and validation. The rest is the cost of HTTP.
 *
 * @param {any} body The request, parsed.
 * @param {import('node:http').ServerResponse} res
 * @param {string | undefined} sessionId The session ID of the request.
 */
export function answerSameBytes(body, res, sessionId = randomUUID()) {
  if (body.id === undefined) {
    res.statusCode = 202;
    res.end();
    return;
  }
  const text = `event: message\ndata: ${JSON.stringify({ result: result(body), jsonrpc: '2.0', id: body.id })}\n\n`;
  res.writeHead(200, { ...HEAD, 'Content-Length': Buffer.byteLength(text), 'Mcp-Session-Id': sessionId }).end(text);
}
