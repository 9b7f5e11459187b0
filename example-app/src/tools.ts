import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerContext } from 'express-mcp-router';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import { say } from './results.js';

// Built once, not for each session: building schemas is the slowest part of registering a tool.
const echoInput = z.object({ text: z.string().describe('What to say back') });
const countdownInput = z.object({ seconds: z.number().int().min(0).max(60).describe('How long to count, 0 to 60') });
const whoamiOutput = z.object({
  session: z.string().nullable().describe('The first characters of the session ID; null without a session'),
  principal: z.string().nullable().describe('Who is asking; null if nobody known'),
});

/** Registers the tools that need no session. */
export function registerTools(server: McpServer, context: ServerContext): void {
  server.registerTool(
    'echo',
    { title: 'Echo', description: 'Says back what it is told.', inputSchema: echoInput },
    ({ text }) => say(text),
  );

  server.registerTool(
    'countdown',
    {
      title: 'Count down',
      description: 'Counts down, with progress every second for clients that ask for it. It can be cancelled.',
      inputSchema: countdownInput,
    },
    async ({ seconds }, { _meta, sendNotification, signal }) => {
      const progressToken = _meta?.progressToken;
      for (let progress = 1; progress <= seconds; progress += 1) {
        await sleep(1000, undefined, { signal });
        if (progressToken === undefined) continue;
        await sendNotification({
          method: 'notifications/progress',
          params: { progressToken, progress, total: seconds, message: `${seconds - progress} s to go` },
        });
      }
      return say(`Counted down from ${seconds}.`);
    },
  );

  server.registerTool(
    'whoami',
    {
      title: 'Who am I',
      description: 'Tells the session (shortened, as a full session ID is a secret) and the principal.',
      outputSchema: whoamiOutput,
    },
    () => {
      const session = context.sessionId?.slice(0, 8) ?? null;
      const principal = context.principal ?? null;
      return {
        ...say(`Session ${session ?? '(none)'}, principal ${principal ?? '(nobody known)'}.`),
        structuredContent: { session, principal },
      };
    },
  );
}
