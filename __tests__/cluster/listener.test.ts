import { createSecretKey, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer as createHttpServer, request, type ServerResponse } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import fc from 'fast-check';
import { Challenges } from '../../src/cluster/membership/challenges.js';
import type { Lease } from '../../src/cluster/membership/lease.js';
import { ResponseRelay } from '../../src/cluster/forwarding/response-relay.js';
import { seal, SIGNATURE } from '../../src/cluster/port/envelope.js';
import { NodeClient, REFUSED } from '../../src/cluster/port/node-client.js';
import { NodeServer } from '../../src/cluster/port/node-server.js';
import { NotOwner } from '../../src/sessions/ownership.js';
import { systemClock } from '../../src/runtime/clock.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { freePort } from '../support/free-port.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { Deferred, soon, until } from '../support/waiting.js';

const KEY = createSecretKey(Buffer.from('of the nodes of this test, and of nobody else'));
const ID = 'this node';
const MAX_BODY = 1_000;

let challenges: Challenges;
let challenge: string;
let listener: NodeServer;
let port: number;
let agent: Agent;
/** What was carried out. */
let done: { kind: string; headers: object; body: string }[];
let fail: Error | undefined;
let reply: (res: ServerResponse) => void;

beforeEach(async () => {
  challenges = new Challenges();
  challenge = challenges.next();
  done = [];
  fail = undefined;
  reply = (res) => res.end('done');
  agent = new Agent({ keepAlive: true });
  listener = new NodeServer({
    key: KEY,
    clock: systemClock,
    lifecycle: new LifecyclePhase(),
    host: '127.0.0.1',
    port: 0,
    maxBodySize: MAX_BODY,
    maxBodyMemory: MAX_BODY,
    check: ({ to, challenge, nonce }) => (to === ID ? challenges.check({ challenge, nonce }) : 'notThis'),
    carryOut: async ({ kind, headers }, body, _req, res) => {
      done.push({ kind, headers, body: body.toString() });
      if (fail !== undefined) throw fail;
      reply(res);
    },
  });
  port = await listener.listen();
});
afterEach(async () => {
  agent.destroy();
  await listener.close();
});

interface Answer {
  readonly status: number | undefined;
  readonly why: unknown;
  readonly text: string;
  readonly taken: boolean;
}

/** What a message is answered with; undefined when it is not. */
function send(payload: Buffer, signature: string | undefined): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    let taken = false;
    const headers = { 'content-length': payload.length, ...(signature !== undefined && { [SIGNATURE]: signature }) };
    request({ agent, port, host: '127.0.0.1', method: 'POST', headers })
      .on('information', () => (taken = true))
      .on('response', (response) => {
        let text = '';
        response.on('data', (data: Buffer) => (text += data.toString()));
        response.on('end', () => resolve({ status: response.statusCode, why: response.headers[REFUSED], text, taken }));
      })
      .on('error', () => resolve(undefined))
      .end(payload);
  });
}

const CLOSE = { kind: 'close', headers: { sessionId: 'session' } } as const;
const sealed = (to = ID, of = challenge, key: KeyObject = KEY, body = '') =>
  seal(key, { to, challenge: of, ...CLOSE }, body);
const REFUSAL = (why: string): Answer => ({ status: 421, why, text: '', taken: false });

describe('the private listener (docs/scaling.md: signed, fresh, once)', () => {
  test('carries out a sealed message exactly once, with a body of any text; a replay is refused', async () => {
    const bodies = fc.oneof(fc.string({ unit: 'grapheme' }), fc.json(), fc.constantFrom('\n', '\r\n\r\n', '😀\n', ''));
    await fc.assert(
      fc.asyncProperty(bodies, fc.integer({ min: 1, max: 3 }), async (body, times) => {
        const before = done.length;
        const { payload, signature } = sealed(ID, challenge, KEY, body);
        const answers = await Promise.all(Array.from({ length: times }, () => send(payload, signature)));
        expect(answers.filter((answer) => answer?.status === 200)).toEqual([
          { status: 200, why: undefined, text: 'done', taken: true },
        ]);
        expect(answers.filter((answer) => answer?.status !== 200)).toEqual(
          Array.from({ length: times - 1 }, () => REFUSAL('replayed')),
        );
        expect(done.slice(before)).toEqual([{ ...CLOSE, body }]);
      }),
      { numRuns: 60 },
    );
  });

  test('carries out nothing of a message that was changed in one byte, wherever', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.nat(), fc.integer({ min: 1, max: 255 }), async (body, at, change) => {
        const { payload, signature } = sealed(ID, challenge, KEY, body);
        payload[at % payload.length]! ^= change;
        expect(await send(payload, signature)).toEqual(REFUSAL('unsigned'));
      }),
      { numRuns: 60 },
    );
    expect(done).toEqual([]);
  });

  test('refuses a message with another key or no signature, and gives no other reason', async () => {
    const { payload, signature } = sealed(ID, challenge, createSecretKey(Buffer.from('another secret')));
    const stale = sealed('another node', 'no challenge', createSecretKey(Buffer.from('another secret')));
    expect(await send(payload, signature)).toEqual(REFUSAL('unsigned'));
    expect(await send(payload, undefined)).toEqual(REFUSAL('unsigned'));
    // A sender without the key must not learn the addressee or the freshness of a message.
    expect(await send(stale.payload, stale.signature)).toEqual(REFUSAL('unsigned'));
    expect(await send(Buffer.from('GET / HTTP/1.1'), '')).toEqual(REFUSAL('unsigned'));
    expect(await send(Buffer.alloc(0), undefined)).toEqual(REFUSAL('unsigned'));
    expect(done).toEqual([]);
  });

  test('carries out nothing that is for another node: a node ID is never used again', async () => {
    const { payload, signature } = sealed('the node that this process was before');
    expect(await send(payload, signature)).toEqual(REFUSAL('notThis'));
    expect(done).toEqual([]);
  });

  test('carries out nothing with a challenge of long ago, and all with one of the last four', async () => {
    const old = challenge;
    for (let n = 0; n < 3; n += 1) challenges.next();
    const first = sealed(ID, old);
    expect(await send(first.payload, first.signature)).toMatchObject({ status: 200 });
    challenges.next();
    const late = sealed(ID, old);
    expect(await send(late.payload, late.signature)).toEqual(REFUSAL('stale'));
    expect(done).toHaveLength(1);
  });

  test('closes the connection at a body that is larger than any message, or has no length', async () => {
    const { payload, signature } = sealed(ID, challenge, KEY, 'x'.repeat(MAX_BODY * 6 + 256 * 1024));
    expect(await send(payload, signature)).toBeUndefined();
    const socket = await RawSocket.open(port);
    const signed = sealed();
    const chunked = [
      [SIGNATURE, signed.signature],
      ['transfer-encoding', 'chunked'],
    ] as const;
    await socket.write(requestBytes('POST', '/', chunked, `${signed.payload.length.toString(16)}\r\n`));
    await soon('it hangs up', socket.end());
    expect(done).toEqual([]);
  });

  test('carries out nothing of a message that breaks off', async () => {
    const { payload, signature } = sealed();
    const socket = await RawSocket.open(port);
    const head = [
      [SIGNATURE, signature],
      ['content-length', String(payload.length)],
    ] as const;
    await socket.write(requestBytes('POST', '/', head));
    await socket.write(payload.subarray(0, -1));
    socket.destroy();
    expect(await send(payload, signature)).toMatchObject({ status: 200 });
    expect(done).toHaveLength(1);
  });

  test('holds incomplete messages up to one limit, and refuses those past it as not begun (docs/scaling.md)', async () => {
    // Each takes more than half of the memory that the listener has.
    const messages = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const { payload, signature } = sealed(ID, challenge, KEY, 'x'.repeat(150_000));
        const socket = await RawSocket.open(port);
        const bytes = requestBytes('POST', '/', [[SIGNATURE, signature]], payload);
        void socket.write(bytes.subarray(0, -1));
        return { socket, last: bytes.subarray(-1), answer: socket.response() };
      }),
    );
    const waiting = new Set(messages);
    const refused: unknown[] = [];
    for (const message of messages) {
      const answered = message.answer.then(({ status, headers }) => {
        waiting.delete(message);
        if (status === 421) refused.push(headers.get(REFUSED));
      });
      answered.catch(() => undefined);
    }
    await until('all but one are refused', () => refused.length === messages.length - 1);
    expect(new Set(refused)).toEqual(new Set(['bodiesAtCapacity']));
    const [held] = waiting;
    await held!.socket.write(held!.last);
    expect(await soon('the other is taken', held!.answer)).toMatchObject({ status: 200, body: 'done' });
    expect(done).toHaveLength(1);
    for (const { socket } of messages) socket.destroy();
  });

  test('answers that nothing was done for a session that is not here; after any other failure its answer breaks off', async () => {
    fail = new NotOwner();
    const first = sealed();
    expect(await send(first.payload, first.signature)).toEqual({ ...REFUSAL('notHere'), taken: true });
    fail = new Error('SECRET');
    const second = sealed();
    expect(await send(second.payload, second.signature)).toBeUndefined();
  });
});

/** For a node to take a message, in ms: longer than any of these tests. */
const TIME = 60_000;

describe('what a sender makes of it (docs/scaling.md: held only where nothing was done)', () => {
  const lease = (to = ID) => ({ id: to, host: '127.0.0.1', port, proof: undefined, challenge, leaving: false });
  const close = (nodeClient: NodeClient, to: Lease, time: number) =>
    nodeClient.request(to, CLOSE.kind, CLOSE.headers, undefined, { time });
  const outcome = async (to = lease()): Promise<unknown> => {
    const nodeClient = new NodeClient(KEY, systemClock, TIME, MAX_BODY);
    const exchange = close(nodeClient, to, TIME);
    const sent = await exchange.sent;
    if (sent.outcome === 'answered') sent.response.resume();
    await exchange.closed;
    nodeClient.close();
    return sent;
  };

  test.each([
    ['its 102 responses arrive, and the connection did not break: not begun', { receives102: true }, 'untaken'],
    ['a proxy drops its 102 responses: perhaps begun', { receives102: false }, 'unknown'],
    ['it is of an earlier version, without this check: perhaps begun', {}, 'unknown'],
  ] as const)(
    'when a node dies before a message is acknowledged, the outcome depends on its lease: %s',
    async (_when, told, outcome) => {
      const silent = createServer().listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const connected = once(silent, 'connection') as Promise<[Socket]>;
      const nodeClient = new NodeClient(KEY, systemClock, TIME, MAX_BODY);
      const to = { ...lease(), ...told, port: (silent.address() as AddressInfo).port };
      const { sent, abort } = close(nodeClient, to, TIME);
      const [socket] = await connected;
      await once(socket, 'data');
      abort('gone');
      const result = await soon('it is over', sent);
      nodeClient.close();
      silent.close();
      expect(result).toMatchObject({ outcome });
    },
  );

  test('answered; untaken, with the reason; lost once it was taken', async () => {
    expect(await outcome()).toMatchObject({ outcome: 'answered' });
    expect(await outcome(lease('another'))).toEqual({ outcome: 'untaken', why: 'notThis' });
    expect(await outcome({ ...lease(), challenge: 'old' })).toEqual({ outcome: 'untaken', why: 'stale' });
    fail = new NotOwner();
    expect(await outcome()).toEqual({ outcome: 'untaken', why: 'notHere' });
    fail = new Error('it died');
    expect(await outcome()).toEqual({ outcome: 'lost' });
    expect(await outcome({ ...lease(), port: await freePort() })).toEqual({ outcome: 'untaken', why: 'unreachable' });
  });

  test('lost, too, when nothing but the head of its answer came: a client that was given that would wait for the rest', async () => {
    const heads = new Deferred();
    reply = (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      void heads.promise.then(() => res.destroy());
    };
    const sent = outcome();
    await until('it was taken', () => done.length === 1);
    heads.resolve();
    expect(await soon('it is given up', sent)).toEqual({ outcome: 'lost' });
  });

  test('an answer without a body is one', async () => {
    reply = (res) => void res.writeHead(202).end();
    expect(await soon('it is there', outcome())).toMatchObject({ outcome: 'answered', response: { statusCode: 202 } });
  });

  test.each(['chunked', 'of a known length'])(
    'passes the head of an answer on with the first of its body, never alone (%s)',
    async (kind) => {
      const events = 'id: 1\ndata:\n\n';
      const length = kind === 'chunked' ? {} : { 'Content-Length': events.length };
      reply = (res) => {
        res.writeHead(200, { 'Content-Type': 'text/event-stream', ...length }).flushHeaders();
        setTimeout(() => res.end(events), 50);
      };
      const nodeClient = new NodeClient(KEY, systemClock, TIME, MAX_BODY);
      const front = createHttpServer((_req, res) => {
        void close(nodeClient, lease(), TIME).sent.then((sent) => {
          if (sent.outcome === 'answered') void new ResponseRelay(TIME).relay(sent.response, res, false);
        });
      }).listen(0, '127.0.0.1');
      await once(front, 'listening');
      const client = connect((front.address() as AddressInfo).port, '127.0.0.1');
      client.write(requestBytes('GET', '/', [['connection', 'close']]));
      const [first] = (await once(client, 'data')) as [Buffer];
      expect(first.toString()).toMatch(/^HTTP\/1.1 200 [^]*\r\n\r\n[^]*id: 1/);
      client.destroy();
      nodeClient.close();
      front.close();
    },
  );

  test('one that is given up before it was taken is untaken', async () => {
    const nodeClient = new NodeClient(KEY, systemClock, TIME, MAX_BODY);
    const exchange = close(nodeClient, lease(), TIME);
    exchange.abort();
    expect(await soon('it is over', exchange.sent)).toEqual({ outcome: 'untaken', why: 'unreachable' });
    await soon('it is closed', exchange.closed);
    nodeClient.close();
    expect(done).toEqual([]);
  });

  test('a message that is not acknowledged in time may be taken later: its outcome is unknown', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const nodeClient = new NodeClient(KEY, systemClock, TIME, MAX_BODY);
    const to = { ...lease(), port: (silent.address() as AddressInfo).port };
    const { sent, closed } = close(nodeClient, to, 50);
    const result = await soon('it is given up', sent);
    await soon('it is closed', closed);
    nodeClient.close();
    silent.close();
    expect(result).toEqual({ outcome: 'unknown', mayAsk: true });
  });
});
