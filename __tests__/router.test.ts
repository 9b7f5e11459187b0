import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { start, type Harness } from './support/harness.js';

describe('the router in an Express app', () => {
  let harness: Harness;
  afterEach(() => harness.close());

  test('a real SDK client initializes, lists and calls tools, and terminates its session with DELETE (spec 2025-11-25)', async () => {
    harness = await start();
    const client = await harness.client();
    const { tools } = await client.listTools();
    expect(tools.map((tool) => tool.name)).toEqual(['echo']);
    const result = await client.callTool({ name: 'echo', arguments: { text: 'hello' } });
    expect(result.content).toEqual([{ type: 'text', text: 'hello' }]);
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });
    const transport = client.transport as StreamableHTTPClientTransport;
    await transport.terminateSession();
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  });
});
