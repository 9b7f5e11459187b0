import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  InitializeRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
  type LoggingLevel,
  type LoggingMessageNotification,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { ServerContext } from '../../src/index.js';

const noteInput = z.object({ text: z.string() });

/**
 * A server that keeps notes in the session's state, tells of changed resources to who subscribed, and logs at every level: what
 * a client may miss after a restart.
 */
export function notesServer({ state, sessionId }: ServerContext): McpServer {
  const server = new McpServer(
    { name: 'notes', version: '1.0.0' },
    { capabilities: { logging: {}, resources: { subscribe: true } } },
  );
  const subscribed = new Set<string>();
  server.server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    subscribed.add(params.uri);
    return {};
  });
  server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    subscribed.delete(params.uri);
    return {};
  });
  const notes = (): string[] => (state.get('notes') as string[] | undefined) ?? [];
  const answer = (value: unknown) => ({ content: [{ type: 'text' as const, text: JSON.stringify(value) }] });
  server.registerTool('add', { inputSchema: noteInput }, async ({ text }) => {
    await state.set('notes', [...notes(), text]);
    return answer(notes());
  });
  server.registerTool('list', {}, () => answer(notes()));
  server.registerTool('subscriptions', {}, () => answer([...subscribed]));
  server.registerTool('log', {}, async () => {
    const levels: LoggingLevel[] = ['debug', 'info', 'warning', 'error'];
    const logged: LoggingMessageNotification['params'][] = levels.map((level) => ({ level, data: level }));
    for (const params of logged) await server.sendLoggingMessage(params, sessionId);
    return answer('logged');
  });
  return server;
}

/** A server that speaks the newest version only. */
export function newServer(context: ServerContext): McpServer {
  const server = notesServer(context);
  server.server.setRequestHandler(InitializeRequestSchema, () => ({
    protocolVersion: '2025-11-25',
    capabilities: {},
    serverInfo: { name: 'new', version: '2.0.0' },
  }));
  return server;
}
