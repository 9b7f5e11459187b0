import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { UrlElicitationRequiredError, type CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { Deferred } from '../support/waiting.js';

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const properties = { value: { type: 'string' as const } };
const ask = (message: string) => ({ message, requestedSchema: { type: 'object' as const, properties } });

/** What the handlers of an {@link askingServer} tell a test. */
export interface Watched {
  /** The session IDs and progress of handlers, and what aborted. */
  readonly seen: string[];
  /** What the tool `hold` waits for. */
  readonly released?: Deferred;
}

/** A server of the SDK's version 1 whose tools ask their client in every way. */
export function askingServer({ seen, released }: Watched = { seen: [] }): McpServer {
  const server = new McpServer(
    { name: 'asking', version: '1.0.0' },
    { capabilities: { logging: {} }, instructions: 'Ask.' },
  );
  const { server: low } = server;
  const elicit = async (message: string) => {
    const { action, content } = await low.elicitInput(ask(message));
    return action === 'accept' ? String(content?.value) : action;
  };

  server.registerTool('add', { inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => text(String(a + b)));
  server.registerTool('once', {}, async () => text(await elicit('only')));
  server.registerTool('greet', { inputSchema: { greeting: z.string() } }, async ({ greeting }) =>
    text(`${greeting} ${await elicit('Name?')}`),
  );
  server.registerTool('twice', {}, async () => text(`${await elicit('first')} ${await elicit('second')}`));
  server.registerTool('both', {}, async () => text((await Promise.all([elicit('left'), elicit('right')])).join(' ')));
  server.registerTool('three', {}, async () => {
    const sampled = low.createMessage({ messages: [], maxTokens: 1 });
    const answers = [elicit('name'), sampled.then(({ content }) => content.type), low.listRoots()] as const;
    const [name, type, { roots }] = await Promise.all(answers);
    return text(`${name} ${type} ${roots.length}`);
  });
  server.registerTool('roots', {}, async () => text(String((await low.listRoots()).roots.length)));
  server.registerTool('visit', {}, () => {
    const elicitation = { mode: 'url' as const, message: 'Sign in', url: 'https://example.com/', elicitationId: 'e' };
    throw new UrlElicitationRequiredError([elicitation]);
  });
  server.registerTool('impatient', {}, async () => {
    const asked = low.elicitInput(ask('quick'), { timeout: 1 });
    return text(
      await asked.then(
        ({ action }) => action,
        () => 'nobody answered',
      ),
    );
  });
  server.registerTool('busy', {}, async ({ _meta, sendNotification }) => {
    const report = (progressToken: string | number, progress: number) =>
      sendNotification({ method: 'notifications/progress', params: { progressToken, progress } });
    const token = _meta?.progressToken ?? 'none';
    for (const progress of [1, 2, 2, 1]) await report(token, progress);
    await report('of another request', 9);
    const answer = await elicit('more?').catch(() => 'unasked');
    for (const progress of [3, 4]) await report(token, progress);
    await server.sendLoggingMessage({ level: 'info', data: 'low' });
    await server.sendLoggingMessage({ level: 'error', data: 'high' });
    return text(answer);
  });
  server.registerTool('hold', {}, async ({ signal }) => {
    seen.push('holding');
    signal.addEventListener('abort', () => seen.push('aborted'));
    await released?.promise;
    return text('released');
  });
  server.registerTool('hold-after-asking', {}, async ({ signal }) => {
    signal.addEventListener('abort', () => seen.push('aborted'));
    await elicit('go on?');
    seen.push('holding');
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return text('never seen');
  });
  server.registerTool('wait', {}, async ({ signal }) => {
    signal.addEventListener('abort', () => seen.push('aborted'));
    return text(await elicit('still there?'));
  });
  server.registerTool('session', {}, ({ sessionId }) => text(String(sessionId)));
  server.registerTool(
    'region',
    { inputSchema: { region: z.string().optional().meta({ 'x-mcp-header': 'Region' }) } },
    (args) => text(String(args.region)),
  );
  server.registerTool('who', {}, ({ authInfo }) => text(String(authInfo?.clientId)));
  server.registerPrompt('about', {}, async () => ({
    messages: [{ role: 'user', content: { type: 'text', text: await elicit('About what?') } }],
  }));
  server.registerResource('x', 'test://x', {}, () => ({ contents: [] }));
  return server;
}
