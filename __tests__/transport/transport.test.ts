import { transportContext, transportOwner } from '../support/transport-context.js';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { ClientCapabilities, JSONRPCMessage, Progress } from '@modelcontextprotocol/sdk/types.js';
import { HttpTransport } from '../../src/transport/transport.js';
import { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { initializeBody } from '../support/harness.js';
import { soon } from '../support/waiting.js';

const EPOCH = 3;
const BASE = EPOCH * 2 ** 32;

/** The transport of a session in its fourth life, behind a bare HTTP server. */
class FourthLife {
  readonly server = new McpServer({ name: 'restored', version: '1.0.0' }).server;
  readonly #http: http.Server;
  readonly #transport: HttpTransport;
  #stop = (): void => undefined;

  constructor() {
    const context = transportContext(new FakeClock(), { retryInterval: 1_000 });
    const owner = transportOwner();
    const lease = owner.acquire('request');
    this.#transport = new HttpTransport({
      context,
      onDisconnect: 'continue',
      session: { id: 'restored', epoch: EPOCH, eventStore: undefined, owner },
    });
    this.#http = http.createServer((req, res) => {
      if (req.method === 'GET') void this.#transport.get(res, undefined);
      else void bodyOf(req).then((message) => this.#transport.post(res, [message], { batch: false, extra: {}, lease }));
    });
  }

  async start(capabilities: ClientCapabilities): Promise<URL> {
    await this.server.connect(this.#transport);
    const initialize = initializeBody();
    await this.#transport.initialize({ ...initialize, params: { ...initialize.params, capabilities } } as never, {});
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    this.#stop = () => this.#http.closeAllConnections();
    return new URL(`http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`);
  }

  async close(): Promise<void> {
    await this.server.close();
    this.#stop();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}

async function bodyOf(req: IncomingMessage): Promise<JSONRPCMessage> {
  let text = '';
  for await (const chunk of req) text += String(chunk);
  return JSON.parse(text) as JSONRPCMessage;
}

describe('a session in an epoch after the first', () => {
  let life: FourthLife;
  let url: URL;
  beforeEach(async () => {
    life = new FourthLife();
    url = await life.start({ roots: {} });
  });
  afterEach(() => life.close());

  const send = (message: object) =>
    fetch(url, { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', ...message }) }).then((response) =>
      response.text(),
    );
  const openStream = async () => new EventStream(await fetch(url));

  test('asks with IDs that no earlier epoch used, and a late answer to an earlier ID resolves nothing', async () => {
    const stream = await openStream();
    const asked = life.server.listRoots();
    const { id } = await stream.message();
    expect(id).toBe(BASE);
    // The SDK counts from 0 in each life: each of these was once an ID of this session's.
    for (const late of [0, '0', 2 ** 32, BASE - 2 ** 32, String(BASE - 2 ** 32)]) {
      await send({ id: late, result: { roots: [{ uri: 'file:///of-an-earlier-life' }] } });
    }
    await send({ id, result: { roots: [{ uri: 'file:///home' }] } });
    expect(await soon('the answer', asked)).toEqual({ roots: [{ uri: 'file:///home' }] });
  });

  test('gets the progress of its own requests, and not that of an earlier epoch', async () => {
    const stream = await openStream();
    const progress: Progress[] = [];
    const asked = life.server.listRoots({}, { onprogress: (step) => progress.push(step) });
    const { id, params } = await stream.message();
    expect(params._meta.progressToken).toBe(id);
    await send({ method: 'notifications/progress', params: { progressToken: 0, progress: 1 } });
    await send({ method: 'notifications/progress', params: { progressToken: id, progress: 2 } });
    await send({ id, result: { roots: [] } });
    await soon('the answer', asked);
    expect(progress).toEqual([{ progress: 2 }]);
  });

  test('cancels a request by the ID that it sent', async () => {
    const stream = await openStream();
    const giveUp = new AbortController();
    const asked = life.server.listRoots({}, { signal: giveUp.signal });
    const { id } = await stream.message();
    giveUp.abort();
    await expect(asked).rejects.toThrow();
    expect(await stream.message()).toMatchObject({ method: 'notifications/cancelled', params: { requestId: id } });
  });

  test('drops a request that it cancels before a stream is open', async () => {
    const giveUp = new AbortController();
    const cancelled = life.server.listRoots({}, { signal: giveUp.signal });
    giveUp.abort();
    await expect(cancelled).rejects.toThrow();
    const asked = life.server.listRoots();
    const stream = await openStream();
    const { id } = await stream.message();
    expect(id).toBe(BASE + 1);
    await send({ id, result: { roots: [] } });
    expect(await asked).toEqual({ roots: [] });
  });

  test('answers its client with the client’s own IDs', async () => {
    const text = await send({ id: 0, method: 'ping' });
    expect(text).toContain('{"result":{},"jsonrpc":"2.0","id":0}');
  });
});
