import { once } from 'node:events';
import { createSecretKey } from 'node:crypto';
import { createServer, get, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Forwarder } from '../../src/cluster/forwarder.js';
import { systemClock } from '../../src/clock.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(answer: (req: IncomingMessage, res: ServerResponse) => void): Promise<number> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A node that relays the answers of another node, the owner. */
async function edge(
  wrap: (res: ServerResponse) => void,
  bytes = 100,
): Promise<{ port: number; relayed: Promise<void> }> {
  const owner = await listen((_req, res) => res.end('x'.repeat(bytes)));
  const forwarder = new Forwarder(createSecretKey(Buffer.from('secret')), systemClock, 60_000, 60_000, 1_000_000);
  let relay: (relayed: Promise<void>) => void;
  const relayed = new Promise<void>((resolve) => (relay = resolve));
  const port = await listen((_req, res) => {
    wrap(res);
    get({ port: owner, host: '127.0.0.1' }, (response) => relay(forwarder.relay(response, res, false))).on(
      'error',
      () => undefined,
    );
  });
  return { port, relayed };
}

test.each(['writeHead', 'write', 'end'] as const)(
  'when the %s of a wrapped response throws, only the relayed reply breaks off',
  async (method) => {
    const { port, relayed } = await edge((res) => {
      res[method] = () => {
        throw new Error('in the app');
      };
    });
    let whole = false;
    const sent = request({ port, host: '127.0.0.1' }, (response) => {
      response
        .on('error', () => undefined)
        .resume()
        .once('end', () => (whole = response.complete));
    });
    await new Promise((resolve) =>
      sent
        .on('error', () => undefined)
        .once('close', resolve)
        .end(),
    );
    expect(whole).toBe(false);
    await relayed;
  },
);

test('a slow reader gets all of a relayed answer', async () => {
  const bytes = 8 * 1024 * 1024;
  const { port, relayed } = await edge(() => undefined, bytes);
  const sent = get({ port, host: '127.0.0.1' });
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let read = 0;
  for await (const chunk of response) {
    read += (chunk as Buffer).length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(read).toBe(bytes);
  await relayed;
});
