import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { createClient } from 'redis';
import { z } from 'zod';
import type { ServerContext } from '../../src/index.js';
import type { Effect } from './history-checker.js';

/** The key with the effects of a session, in the order in which they happened. */
export const effectsKey = (session: string): string => `effects:${session}`;

/** In ms, by the monotonic clock that all processes of the machine share. */
export const machineTime = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

const input = { inputSchema: z.object({ value: z.string() }) };

/**
 * The operations that a history records. Effects take a connection of their own, which no fault of a test cuts: they show
 * what a node does while it cannot reach the cluster's Redis.
 *
 * @returns Adds the tools to the server of a session.
 */
export async function historyTools(redisUrl: string) {
  const outside = createClient({ url: redisUrl });
  outside.on('error', () => undefined);
  await outside.connect();
  outside.unref();

  return (server: McpServer, { state, sessionId, epoch }: ServerContext): void => {
    const owner = process.pid;
    const answer = (told: object) => ({
      content: [{ type: 'text' as const, text: JSON.stringify({ session: sessionId, owner, epoch, ...told }) }],
    });
    const listed = (): readonly string[] => (state.get('list') ?? []) as readonly string[];

    server.registerTool('append', input, async ({ value }) => {
      const list = [...listed(), value];
      await state.set('list', list);
      return answer({ value, list });
    });
    // What another call has set may not be stored yet. So this stores what it answers.
    server.registerTool('list', input, async ({ value }) => {
      const list = listed();
      await state.set('list', list);
      return answer({ value, list });
    });
    server.registerTool('effect', input, async ({ value }) => {
      const effect: Effect = { value, owner, epoch, begunAt: machineTime() };
      await outside.rPush(effectsKey(sessionId!), JSON.stringify(effect));
      return answer({ value });
    });
  };
}
