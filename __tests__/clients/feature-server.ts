import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  CreateMessageResultSchema,
  ElicitResultSchema,
  ListRootsResultSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });

/** A server that uses every kind of message which the transport carries. */
export function featureServer(): McpServer {
  const server = new McpServer({ name: 'features', version: '1.0.0' }, { capabilities: { logging: {} } });
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, (args) => text(args.text));
  server.registerTool('steps', { inputSchema: z.object({ count: z.number() }) }, async ({ count }, extra) => {
    const progressToken = extra._meta?.progressToken;
    for (let progress = 1; progress <= count && progressToken !== undefined; progress += 1) {
      await extra.sendNotification({
        method: 'notifications/progress',
        params: { progressToken, progress, total: count },
      });
    }
    return text(`${count} steps`);
  });
  server.registerTool('ask', { inputSchema: z.object({}) }, async (_args, extra) => {
    const params = {
      mode: 'form' as const,
      message: 'Your name?',
      requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } } },
    };
    const answer = await extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema);
    return text(String(answer.content?.name));
  });
  server.registerTool('sample', { inputSchema: z.object({}) }, async (_args, extra) => {
    const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: 'hi' } }];
    const answer = await extra.sendRequest(
      { method: 'sampling/createMessage', params: { messages, maxTokens: 5 } },
      CreateMessageResultSchema,
    );
    return text(answer.content.type === 'text' ? answer.content.text : '');
  });
  server.registerTool('roots', { inputSchema: z.object({}) }, async (_args, extra) => {
    const { roots } = await extra.sendRequest({ method: 'roots/list' }, ListRootsResultSchema);
    return text(roots.map((root) => root.uri).join());
  });
  server.registerTool('announce', { inputSchema: z.object({ text: z.string() }) }, async (args) => {
    await server.server.sendLoggingMessage({ level: 'info', data: args.text });
    return text('announced');
  });
  return server;
}
