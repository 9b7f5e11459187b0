import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import type { McpRouterOptions, ServerContext } from '../../src/index.js';
import { echoCall, post, start } from '../support/harness.js';

const TENANTS = Array.from({ length: 8 }, (_, index) => `tenant-${index}`);
const CALLS = 40;

/** Each tenant's factory builds a server with a tool of its own and with knowledge of its own. */
const FACTORIES = new Map(
  TENANTS.map((tenant) => [
    tenant,
    ({ req }: ServerContext): McpServer => {
      const server = new McpServer({ name: tenant, version: '1.0.0' });
      server.registerTool(`of_${tenant.replace('-', '_')}`, { inputSchema: z.object({}) }, async (_args, extra) => {
        await new Promise(setImmediate);
        const text = `${tenant} ${String(req.headers['x-plan'])} ${String(extra.requestInfo?.headers['x-tenant'])}`;
        return { content: [{ type: 'text', text }] };
      });
      return server;
    },
  ]),
);

const multiTenant: Partial<McpRouterOptions> = {
  principal: (req) => req.headers['x-tenant'] as string | undefined,
  requirePrincipal: true,
  serverFactory: async (context) => {
    await new Promise(setImmediate);
    const build = FACTORIES.get(context.principal ?? '');
    if (build === undefined) throw new Error(`no such tenant: ${String(context.principal)}`);
    return build(context);
  },
};

test.each([
  ['a server for each session', {}],
  ['a server for each request (stateless)', { stateless: true }],
])('8 tenants under concurrent load each see their own factory, tools and answers only: %s', async (_name, options) => {
  const harness = await start({ ...multiTenant, ...options });
  try {
    await Promise.all(
      TENANTS.map(async (tenant) => {
        const headers = { 'x-tenant': tenant, 'x-plan': `plan-of-${tenant}` };
        const client = new Client({ name: tenant, version: '1' });
        await client.connect(new StreamableHTTPClientTransport(harness.url, { requestInit: { headers } }));
        const tool = `of_${tenant.replace('-', '_')}`;
        expect((await client.listTools()).tools.map(({ name }) => name)).toEqual([tool]);
        const answers = await Promise.all(
          Array.from({ length: CALLS }, () => client.callTool({ name: tool, arguments: {} })),
        );
        const text = `${tenant} plan-of-${tenant} ${tenant}`;
        for (const answer of answers) expect(answer.content).toEqual([{ type: 'text', text }]);
        await client.close();
      }),
    );
  } finally {
    await harness.close();
  }
});

test('concurrent cold requests to a stateless router never meet "Already connected"', async () => {
  const harness = await start({ stateless: true });
  try {
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, id) => {
        const response = await post(harness.url, echoCall(id, `text ${id}`));
        return {
          status: response.status,
          body: await response.text(),
          session: response.headers.get('mcp-session-id'),
        };
      }),
    );
    answers.forEach(({ status, body, session }, id) => {
      expect(status).toBe(200);
      expect(session).toBeNull();
      expect(body).toContain(`"text":"text ${id}"`);
    });
  } finally {
    await harness.close();
  }
});

test('a tenant that no factory serves gets 500 without the reason, and leaves nothing', async () => {
  const harness = await start(multiTenant);
  try {
    const response = await post(
      harness.url,
      {
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
      },
      { 'x-tenant': 'nobody' },
    );
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('no such tenant');
    expect(harness.router.sessions.list()).toEqual([]);
  } finally {
    await harness.close();
  }
});
