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

/** What a server says of itself to the model. */
const INSTRUCTIONS = {
  stateless: 'A small server to try a client with. It is stateless: nothing is kept from one request to the next.',
  session:
    'A small server to try a client with. Notes belong to the session: no other client sees them, and they end with it.',
  request: 'A small server to try a client with. Notes belong to the user: no other user sees them.',
};

/**
 * Builds the MCP server of one session, or of one request of a client that opens no session.
 *
 * A stateless router builds a server for each request of the clients that want a session. Tools that need one are left out then.
 *
 * @param hasStore - Whether the router can keep state for clients without a session.
 */
export function buildServer(context: ServerContext, hasStore: boolean): McpServer {
  const stateless = context.era === 'session' && context.sessionId === undefined;
  const server = new McpServer(
    { name: 'express-mcp-router-example', title: 'express-mcp-router example', version: '1.0.0' },
    {
      jsonSchemaValidator,
      capabilities: stateless ? {} : { logging: {}, resources: { subscribe: true } },
      instructions: INSTRUCTIONS[stateless ? 'stateless' : context.era],
    },
  );
  registerTools(server, context);
  if (stateless) return server;
  registerNotes(server, context, hasStore);
  registerDialogue(server);
  return server;
}
