// AWS Lambda behind an API Gateway or a function URL: clients of both eras, and no sessions (docs/recipes.md#serverless).
// npm install express-mcp-router express @modelcontextprotocol/server serverless-http zod
import { acceptedContent, inputRequired, McpServer, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server';
import express from 'express';
import { mcpRouter } from 'express-mcp-router';
import { v2 } from 'express-mcp-router/v2';
import serverless from 'serverless-http';
import { z } from 'zod';

const supportedProtocolVersions = ['2026-07-28', ...SUPPORTED_PROTOCOL_VERSIONS];
// No stream outlives an invocation. A client that subscribes to changes would only keep an instance busy until the time-out.
const capabilities = { tools: { listChanged: false } };

const sum = z.object({ a: z.number(), b: z.number() });
const question = {
  message: 'Your name?',
  requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } } },
};

function serverFactory(): McpServer {
  const server = new McpServer({ name: 'serverless', version: '1.0.0' }, { supportedProtocolVersions, capabilities });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  // The handler does not wait for the answer. It is called anew with it, perhaps by another instance.
  server.registerTool('greet', { description: 'Asks for your name' }, ({ mcpReq }) => {
    const answer = acceptedContent<{ name: string }>(mcpReq.inputResponses, 'name');
    if (answer === undefined) return inputRequired({ inputRequests: { name: inputRequired.elicit(question) } });
    return { content: [{ type: 'text', text: `Hello, ${answer.name}` }] };
  });
  return server;
}

const mcp = mcpRouter({
  serverFactory,
  stateless: true, // for clients of 2025-11-25 and before
  perRequest: { sdk: v2() },
  enableJsonResponse: true, // the adapter returns a reply when it is complete
  // Shorter than API Gateway's 29 s, so that clients get an error of JSON-RPC. Set the function's own time-out above it: 3 s by default.
  requestTimeout: 25_000,
  metrics: false, // every instance would count for itself
});

export const handler = serverless(express().use('/mcp', mcp));
