import { once } from 'node:events';
import { createSecretKey } from 'node:crypto';
import { createServer, get, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ResponseRelay } from '../../src/cluster/forwarding/response-relay.js';
import { NodeClient } from '../../src/cluster/port/node-client.js';
import { systemClock } from '../../src/runtime/clock.js';
import { FakeClock } from '../support/fake-clock.js';
import { until } from '../support/waiting.js';

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

const connections = (server: Server): Promise<number> =>
  new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });

/** A node that relays the answers of another node, the owner. */
async function edge(
  wrap: (res: ServerResponse) => void,
  bytes = 100,
): Promise<{ port: number; relayed: Promise<void> }> {
  const owner = await listen((_req, res) => res.end('x'.repeat(bytes)));
  const relays = new ResponseRelay(60_000);
  let relay: (relayed: Promise<void>) => void;
  const relayed = new Promise<void>((resolve) => (relay = resolve));
  const port = await listen((_req, res) => {
    wrap(res);
    get({ port: owner, host: '127.0.0.1' }, (response) => relay(relays.relay(response, res, false))).on(
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

describe('a relayed stream of events', () => {
  const LOST = 'data: lost\n\n';

  /** Relays a stream that begins so, until `finish` is called; gives what the client got, and whether that came to its end. */
  async function relayed(
    said: string,
    finish: (relay: ResponseRelay, owner: ServerResponse) => void,
    isStream = false,
  ) {
    const relay = new ResponseRelay(60_000);
    let owned: ServerResponse | undefined;
    const owner = await listen((_req, res) => {
      owned = res;
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(said);
    });
    const port = await listen((_req, res) => {
      get({ port: owner, host: '127.0.0.1' }, (response) => void relay.relay(response, res, isStream, () => LOST)).on(
        'error',
        () => undefined,
      );
    });
    const [response] = (await once(get({ port, host: '127.0.0.1' }), 'response')) as [IncomingMessage];
    let text = '';
    response.on('error', () => undefined).on('data', (chunk: Buffer) => (text += chunk.toString()));
    await until('what was said is here', () => text === said);
    finish(relay, owned!);
    await new Promise((resolve) => response.once('close', resolve));
    return { text, whole: response.complete };
  }

  test('that breaks off before its first event tells that its requests were lost', async () => {
    const comments = ': open\n\n: keep-alive\n\n';
    expect(await relayed(comments, (_, owner) => owner.destroy())).toEqual({ text: comments + LOST, whole: true });
  });

  test.each(['data: one\n\n', ': open\n\nid: 1\ndata: \n\n', 'data: o'])(
    'breaks off with its owner after an event that a client may resume from: %j',
    async (said) => {
      expect(await relayed(said, (_, owner) => owner.destroy())).toEqual({ text: said, whole: false });
    },
  );

  test.each([
    [': open\n\n', 'retry: 1\n\n'],
    ['data: one\n\n', 'retry: 1\n\n'],
    ['data: o', ''],
  ])('that this node ends has a last word, but never within an event: %j', async (said, last) => {
    const end = (relay: ResponseRelay): void => relay.endStreams('retry: 1\n\n');
    expect(await relayed(said, end, true)).toEqual({ text: said + last, whole: true });
  });
});

test('an answer for a client that has its reply already is dropped, and so is its connection', async () => {
  const { port, relayed } = await edge((res) => res.writeHead(504).end('late'), 8 * 1024 * 1024);
  const [response] = (await once(get({ port, host: '127.0.0.1' }), 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  expect([response.statusCode, body]).toEqual([504, 'late']);
  await relayed;
  await until('no connection to the owner is open', async () => (await connections(servers[0]!)) === 0);
});

describe('a message to another node', () => {
  const lease = (port: number) => ({
    id: 'other',
    host: '127.0.0.1',
    port,
    proof: undefined,
    challenge: 'challenge',
    leaving: false,
  });
  const client = (maxPayload: number): NodeClient =>
    new NodeClient(createSecretKey(Buffer.from('secret')), systemClock, 60_000, maxPayload);

  test('longer than another node takes is not sent: the principal of a request may be of any length', async () => {
    const requests: string[] = [];
    const port = await listen((req, res) => {
      requests.push(req.url!);
      res.end();
    });
    const nodeClient = client(1_000);
    const long = nodeClient.request(lease(port), 'orphaned', { principal: 'x'.repeat(1_000) }, undefined, {
      time: 60_000,
    });
    expect(await long.sent).toEqual({ outcome: 'untaken', why: 'tooLarge' });
    long.abort();
    await long.closed;
    expect(requests).toEqual([]);
    nodeClient.close();
  });

  test('waits for its answer as long as a request may take, if the node is known to sit behind a proxy that drops 1xx', async () => {
    const clock = new FakeClock();
    const delays: number[] = [];
    const setTimeout = clock.setTimeout.bind(clock);
    clock.setTimeout = (callback, ms) => {
      delays.push(ms);
      return setTimeout(callback, ms);
    };
    const port = await listen((req, res) => {
      res.setHeader('x-mcp-node', 'other');
      req.resume().once('end', () => res.end('true'));
    });
    const nodeClient = new NodeClient(createSecretKey(Buffer.from('secret')), clock, 30_000, 1_000_000);
    const ask = async (): Promise<number> => {
      delays.length = 0;
      const { sent, closed } = nodeClient.request(lease(port), 'list', {}, undefined, { time: 500 });
      const result = await sent;
      if (result.outcome === 'answered') result.response.resume();
      await closed;
      return Math.max(...delays.filter((ms) => ms !== 1_000));
    };
    expect([await ask(), await ask()]).toEqual([500, 30_000]);
    nodeClient.close();
  });
});
