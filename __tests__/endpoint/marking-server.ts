import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { ElicitResultSchema, type CallToolResult } from '@modelcontextprotocol/sdk/types.js';

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const ask = (message: string) => ({
  message,
  requestedSchema: { type: 'object' as const, properties: { value: { type: 'string' as const } } },
});

/**
 * A server whose tool `work` marks all that it says with its principal and the header `x-call` of its request. It speaks in every
 * way: of the request that it names, and of the one that it happens to work on.
 */
export function markingServer(principal: string | undefined): McpServer {
  const server = new McpServer({ name: 'marking', version: '1.0.0' }, { capabilities: { logging: {} } });
  const low = server.server;
  server.registerTool('work', {}, async ({ requestInfo, _meta, sendNotification, sendRequest }) => {
    const mark = `${String(principal)}/${String(requestInfo?.headers['x-call'])}`;
    const progressToken = _meta?.progressToken ?? '';
    const report = (progress: number) => ({
      method: 'notifications/progress' as const,
      params: { progressToken, progress, message: mark },
    });
    await sendNotification(report(1));
    await server.sendLoggingMessage({ level: 'info', data: mark });
    const first = await low.elicitInput(ask(mark));
    await low.notification(report(2));
    const second = await sendRequest({ method: 'elicitation/create', params: ask(mark) }, ElicitResultSchema);
    await server.sendLoggingMessage({ level: 'info', data: mark });
    return text([mark, first.content?.value, second.content?.value].join(' '));
  });
  return server;
}
