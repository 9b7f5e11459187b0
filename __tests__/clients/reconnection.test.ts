import { readFileSync } from 'node:fs';
import * as v2 from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

// When the SDK's clients try to open their stream again after the server has gone. The test advances the clients' own timers.
// The network is a function, so that only these timers take time.

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

const CONNECT: Record<string, (fetch: Fetch) => Promise<{ close(): Promise<void> }>> = {
  '`@modelcontextprotocol/sdk` (v1)': async (fetch) => {
    const client = new Client({ name: 'test', version: '1.0.0' });
    await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch }));
    return client;
  },
  '`@modelcontextprotocol/client` (v2)': async (fetch) => {
    const client = new v2.Client({ name: 'test', version: '1.0.0' });
    await client.connect(new v2.StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch }));
    return client;
  },
};

/** A server with one stream, whose first event may hold a `retry:` line. The server can go away. */
class Network {
  /** The times of the GETs after the server had gone, in ms. */
  readonly tries: number[] = [];
  readonly #firstEvent: string;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  #goneAt: number | undefined;

  constructor(retry: number | undefined) {
    this.#firstEvent = retry === undefined ? ': open\n\n' : `id: 1\nretry: ${retry}\ndata: \n\n`;
  }

  get open(): boolean {
    return this.#stream !== undefined;
  }

  readonly fetch: Fetch = async (_url, init) => {
    if (init?.method === 'GET') return this.#get();
    const { id, method, params } = JSON.parse(init?.body as string) as {
      id?: number;
      method: string;
      params?: { protocolVersion: string };
    };
    if (method !== 'initialize') return new Response(null, { status: 202 });
    const serverInfo = { name: 'test', version: '1.0.0' };
    const result = { protocolVersion: params?.protocolVersion, capabilities: {}, serverInfo };
    return Response.json({ jsonrpc: '2.0', id, result }, { headers: { 'mcp-session-id': 'session' } });
  };

  goAway(): void {
    this.#goneAt = Date.now();
    this.#stream?.error(new TypeError('terminated'));
  }

  #get(): Response {
    if (this.#goneAt !== undefined) {
      this.tries.push(Date.now() - this.#goneAt);
      throw new TypeError('fetch failed');
    }
    const first = new TextEncoder().encode(this.#firstEvent);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#stream = controller;
        controller.enqueue(first);
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }
}

/** The cells of docs/restart.md's table, by client: without a `retry:` line, and with `retry: 3000`. */
const rows = readFileSync('docs/restart.md', 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| `@modelcontextprotocol/'))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const CASES = rows.flatMap(([, client = '', none = '', three = '']): [string, number | undefined, string][] => [
  [client, undefined, none],
  [client, 3_000, three],
]);

test("docs/restart.md's table has both clients", () => {
  expect(rows.map(([, client]) => client)).toEqual(Object.keys(CONNECT));
});

describe("docs/restart.md's table of when a client tries to open its stream again", () => {
  beforeEach(
    () => void jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance'] }),
  );
  afterEach(() => void jest.useRealTimers());
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test.each(CASES)('%s, retry: %p: after %s, and then no more', async (client, retry, stated) => {
    const network = new Network(retry);
    const connected = await CONNECT[client]!(network.fetch);
    while (!network.open) await turn();
    // The client reads the begin of the stream within a few turns of the event loop, without any timer.
    for (let turns = 0; turns < 20; turns += 1) await turn();
    network.goAway();
    for (let ms = 0; ms < 60_000; ms += 100) {
      await turn();
      await jest.advanceTimersByTimeAsync(100);
    }
    expect(network.tries.map((ms) => `${ms / 1_000} s`).join(', ')).toBe(stated);
    await connected.close();
  });
});
