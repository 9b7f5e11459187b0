import type { ServerContext } from 'express-mcp-router';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { registerDialogue } from './dialogue.js';
import { registerNotes } from './notes.js';
import { registerTools } from './tools.js';

/**
 * One validator for all sessions. Otherwise each server creates its own, which takes time and memory.
 *
 * Ajv caches compiled schemas by schema object. Schemas passed to it must therefore be constants, or the cache grows.
 */
const jsonSchemaValidator = new AjvJsonSchemaValidator();

/**
 * Builds the MCP server of one session.
 *
 * A stateless router builds a server for each request. Tools that need a session are left out then.
 */
export function buildServer(context: ServerContext): McpServer {
  const stateless = context.sessionId === undefined;
  const server = new McpServer(
    { name: 'express-mcp-router-example', title: 'express-mcp-router example', version: '1.0.0' },
    {
      jsonSchemaValidator,
      capabilities: stateless ? {} : { logging: {}, resources: { subscribe: true } },
      instructions: stateless
        ? 'A small server to try a client with. It is stateless: nothing is kept from one request to the next.'
        : 'A small server to try a client with. Notes belong to the session: no other client sees them, and they end with it.',
    },
  );
  registerTools(server, context);
  if (stateless) return server;
  registerNotes(server, context);
  registerDialogue(server);
  return server;
}
