import type { ServerContext } from 'express-mcp-router';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { say } from './results.js';
import { COUNTDOWN, countDown, ECHO, WHOAMI, whoAmI } from './tool-definitions.js';

/** Registers the tools that need no session. */
export function registerTools(server: McpServer, context: ServerContext): void {
  server.registerTool('echo', ECHO, ({ text }) => say(text));
  server.registerTool('countdown', COUNTDOWN, ({ seconds }, { _meta, sendNotification, signal }) => {
    const progressToken = _meta?.progressToken;
    if (progressToken === undefined) return countDown(seconds, signal, undefined);
    return countDown(seconds, signal, (progress) =>
      sendNotification({ method: 'notifications/progress', params: { progressToken, ...progress } }),
    );
  });
  server.registerTool('whoami', WHOAMI, () => whoAmI(context));
}
