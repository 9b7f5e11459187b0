import type { ServerContext } from 'express-mcp-router';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { registerDialogue } from './dialogue.js';
import { NoteList } from './note-list.js';
import { registerNotes } from './notes.js';
import { infoOf } from './server-info.js';
import { registerTools } from './tools.js';

/**
 * One validator for all sessions. Otherwise each server creates its own, which takes time and memory.
 *
 * Ajv caches compiled schemas by schema object. Schemas passed to it must therefore be constants, or the cache grows.
 */
const jsonSchemaValidator = new AjvJsonSchemaValidator();

/**
 * Builds the MCP server of one session, or of one request of a client that opens no session.
 *
 * A stateless router builds a server for each request of the clients that want a session. Tools that need one are left out then.
 *
 * @param hasStore - Whether the router can keep state for clients without a session.
 */
export function buildServer(context: ServerContext, hasStore: boolean): McpServer {
  const { info, capabilities, instructions, stateless } = infoOf(context);
  const server = new McpServer(info, { jsonSchemaValidator, capabilities, instructions });
  registerTools(server, context);
  if (stateless) return server;
  registerNotes(server, new NoteList(context, hasStore));
  registerDialogue(server);
  return server;
}
