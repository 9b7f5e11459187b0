import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { start, type Harness } from '../support/harness.js';
import { call, subscribe, type PerRequest } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { answersTo, askedBy, textOf } from './asked.js';
import { askingServer } from './asking-server.js';

// Work of a server of the session era in response to the handshake (`initialize`, `notifications/initialized`) belongs to no call
// of a client (docs/two-eras.md).

const capabilities = { elicitation: {} };

let onInitialized: (server: McpServer) => Promise<void>;
let released: Deferred;
let seen: string[];
let harness: Harness;

beforeEach(() => {
  seen = [];
  released = new Deferred();
});
afterEach(async () => {
  released.resolve();
  await harness.close();
});

async function serve(servers: 'request' | 'principal'): Promise<void> {
  harness = await start({
    perRequest: { servers },
    principal: () => 'alice',
    serverFactory: () => {
      const server = askingServer({ seen, released });
      server.server.oninitialized = () => void onInitialized(server);
      return server;
    },
  });
}

const ask = (name: string, request: PerRequest = {}) => call(harness.url, name, {}, { capabilities, ...request });

describe.each(['request', 'principal'] as const)('a late question of `oninitialized` (servers: %s)', (servers) => {
  let late: Deferred;
  let failed: string[];
  beforeEach(async () => {
    late = new Deferred();
    failed = [];
    onInitialized = async ({ server }) => {
      await late.promise;
      await server.listRoots().catch((error: unknown) => failed.push((error as Error).message));
    };
    await serve(servers);
  });

  const expectFailed = async (): Promise<void> => {
    late.resolve();
    await until('the question has failed', () => failed.length > 0);
    expect(failed).toEqual([expect.stringContaining('No request of a client is known that roots/list belongs to')]);
  };

  test('fails by itself, and not the call that runs', async () => {
    const held = ask('hold');
    await until('the handler holds', () => seen.includes('holding'));
    await expectFailed();
    released.resolve();
    expect(textOf(await held)).toBe('released');
  });

  test('fails by itself, and not the call that is suspended, whose client is not asked it', async () => {
    const first = askedBy(await ask('twice'));
    await expectFailed();
    const retry = { requestState: first.requestState, inputResponses: answersTo(first, { first: 'a' }) };
    const second = askedBy(await ask('twice', { params: retry, capabilities: { elicitation: {}, roots: {} } }));
    expect([...second.keys.keys()]).toEqual(['second']);
  });
});

test('a worker that `oninitialized` started may ask for a call that it names by `relatedRequestId`', async () => {
  const wanted: ((ask: () => Promise<unknown>) => void)[] = [];
  harness = await start({
    perRequest: true,
    serverFactory: () => {
      const server = askingServer();
      const jobs = new Deferred<number | string>();
      const work = async (): Promise<void> => {
        const relatedRequestId = await jobs.promise;
        const requestedSchema = { type: 'object' as const, properties: {} };
        const asked = server.server.elicitInput({ message: 'by a worker', requestedSchema }, { relatedRequestId });
        wanted.shift()?.(() => asked);
      };
      server.server.oninitialized = () => void work();
      server.registerTool('delegate', {}, async ({ requestId }) => {
        const answered = new Promise<() => Promise<unknown>>((resolve) => wanted.push(resolve));
        jobs.resolve(requestId);
        await (
          await answered
        )();
        return { content: [{ type: 'text', text: 'answered' }] };
      });
      return server;
    },
  });
  const asked = askedBy(await ask('delegate'));
  const params = { requestState: asked.requestState, inputResponses: answersTo(asked, { 'by a worker': 'x' }) };
  expect(textOf(await ask('delegate', { params }))).toBe('answered');
});

describe.each(['request', 'principal'] as const)('a change that a server announces (servers: %s)', (servers) => {
  const MARK = 'notifications/resources/list_changed';
  let isListening: boolean;
  beforeEach(async () => {
    isListening = false;
    harness = await start({
      perRequest: { servers },
      principal: () => 'alice',
      serverFactory: () => {
        const server = askingServer();
        const { server: low } = server;
        const announceTools = (): void => void low.sendToolListChanged();
        server.registerTool('mark', {}, async () => {
          await low.sendResourceListChanged();
          return { content: [] };
        });
        // The subscription has a server of its own, which announces to it whatever it likes.
        if (isListening) {
          low.oninitialized = announceTools;
          low.setRequestHandler(ListToolsRequestSchema, async () => {
            await low.sendToolListChanged();
            return { tools: [{ name: 'mark', inputSchema: { type: 'object' } }] };
          });
        }
        isListening = true;
        return server;
      },
    });
  });

  test('during its handshake, or while it lists its tools for the headers of a call, reaches no client', async () => {
    const { stream } = await subscribe(harness.url, { toolsListChanged: true, resourcesListChanged: true });
    expect((await ask('mark')).status).toBe(200);
    expect(await stream.message()).toMatchObject({ method: MARK });
  });
});
