import type { ServerContext } from 'express-mcp-router';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { registerDialogue } from './dialogue.js';
import { registerNotes } from './notes.js';
import { registerTools } from './tools.js';

/**
 * One for all sessions, as a server makes its own otherwise, which is a part of what it costs; its tools' schemas, which are
 * made once as well, are the larger one. Ajv keeps what it compiled by schema object, so that those given to it must be constants.
 */
const jsonSchemaValidator = new AjvJsonSchemaValidator();

/**
 * Builds the MCP server of one session.
 *
 * A stateless router asks for a server with each request; what needs a session is not offered then.
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
