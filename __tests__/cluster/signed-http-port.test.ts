import { createSecretKey } from 'node:crypto';
import { askNode } from '../../src/cluster/port/ask-node.js';
import { SignedHttpPort } from '../../src/cluster/port/signed-http-port.js';
import { Challenges } from '../../src/cluster/membership/challenges.js';
import type { Lease } from '../../src/cluster/membership/lease.js';
import { NotOwner } from '../../src/sessions/ownership.js';
import { systemClock } from '../../src/runtime/clock.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { freePort } from '../support/free-port.js';
import { until } from '../support/waiting.js';

const TIME = 60_000;

/** A port of one node, in this process. */
class Node {
  readonly challenges = new Challenges();
  readonly port: SignedHttpPort;
  readonly others: Lease[] = [];
  readonly forgotten: string[] = [];
  /** Called when the node of that ID is gone. */
  readonly watches = new Map<string, () => void>();
  lease!: Lease;

  private constructor(id: string) {
    this.port = new SignedHttpPort({
      key: createSecretKey(Buffer.from('secret')),
      clock: systemClock,
      lifecycle: new LifecyclePhase(),
      host: '127.0.0.1',
      port: 0,
      maxBodySize: 1_000_000,
      maxBodyMemory: 1_000_000,
      requestTimeout: TIME,
      claimTimeout: TIME,
      peers: {
        watchEndOfMessages: (lease, listener) => {
          this.watches.set(lease.id, listener);
          return () => this.watches.delete(lease.id);
        },
        forget: (lease) => void this.forgotten.push(lease),
      },
      others: () => Promise.resolve(this.others),
      check: ({ to, ...message }, isKnown) => {
        if (to !== id) return 'notThis';
        return isKnown ? this.challenges.check(message) : 'unknownKind';
      },
    });
  }

  static async start(id: string): Promise<Node> {
    const node = new Node(id);
    const address = { host: '127.0.0.1', port: await node.port.listen() };
    const challenge = node.challenges.next();
    node.lease = { id, ...address, proof: undefined, challenge, leaving: false, receives102: true };
    return node;
  }
}

let a: Node;
let b: Node;
beforeEach(async () => {
  [a, b] = [await Node.start('a'), await Node.start('b')];
});
afterEach(async () => {
  await a.port.close();
  await b.port.close();
});

describe('the port between nodes', () => {
  test('gives a request to the handler of its kind, and its answer to the sender', async () => {
    b.port.handle('close', ({ headers: { sessionId } }) => Promise.resolve(sessionId === 'open'));
    expect(await askNode(a.port, b.lease, 'close', { sessionId: 'open' }, TIME)).toBe(true);
    expect(await askNode(a.port, b.lease, 'close', { sessionId: 'none' }, TIME)).toBe(false);
    expect(a.forgotten).toEqual([]);
    expect([...a.watches.keys()]).toEqual([]);
  });

  test('carries the bytes of a body as they are, and lets the handler stream the reply', async () => {
    const body = Buffer.from([0x7b, 0x0a, 0xff, 0x00, 0x7d]);
    b.port.handle('request', async ({ headers, body, reply }) => {
      reply.writeHead(200, { 'x-path': headers.path });
      for (const byte of body) {
        reply.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      reply.end();
      return undefined;
    });
    const headers = { method: 'POST', path: '/mcp', headers: {}, protocol: 'http' };
    const request = { ...headers, principal: undefined, auth: undefined, sessionId: undefined };
    const sent = await a.port.request(b.lease, 'request', request, body, { time: TIME }).sent;
    if (sent.outcome !== 'answered') throw new Error(sent.outcome);
    expect(sent.response.headers['x-path']).toBe('/mcp');
    const chunks: Buffer[] = [];
    for await (const chunk of sent.response) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks)).toEqual(body);
  });

  test('refuses a kind without a handler, which the sender names as one of another version', async () => {
    await expect(askNode(a.port, b.lease, 'list', {}, TIME)).rejects.toMatchObject({
      reason: 'ownerUnreachable',
      cause: new Error('a node of the cluster is of a version that does not know the request list'),
    });
    expect(a.forgotten).toEqual(['b']);
  });

  test('tells the sender that nothing was done when the handler rejects with NotOwner', async () => {
    b.port.handle('close', () => Promise.reject(new NotOwner()));
    const { sent } = a.port.request(b.lease, 'close', { sessionId: 'other' }, undefined, { time: TIME });
    expect(await sent).toEqual({ outcome: 'untaken', why: 'notHere' });
  });

  test('broadcasts to all other nodes, and one that does not answer hides no other', async () => {
    const dead = { ...b.lease, id: 'dead', port: await freePort() };
    a.others.push(b.lease, dead);
    b.port.handle('orphaned', ({ headers: { principal } }) => principal.length);
    const answers = await a.port.broadcast('orphaned', { principal: 'alice' });
    expect(answers).toEqual([
      { node: b.lease, result: { status: 'fulfilled', value: 5 } },
      { node: dead, result: { status: 'rejected', reason: expect.objectContaining({ reason: 'ownerUnreachable' }) } },
    ]);
    expect(a.forgotten).toEqual(['dead']);
  });

  test('abandons a request whose node is gone, and the outcome is lost if the node had begun', async () => {
    let begun = false;
    b.port.handle('close', () => {
      begun = true;
      return new Promise(() => undefined);
    });
    const { sent, closed } = a.port.request(b.lease, 'close', { sessionId: 'open' }, undefined, { time: TIME });
    await until('the node has begun', () => begun);
    a.watches.get('b')!();
    expect(await sent).toEqual({ outcome: 'lost' });
    await closed;
    expect([...a.watches.keys()]).toEqual([]);
  });

  test('reaches its own node by a probe, which needs no handler of the app', async () => {
    expect(await a.port.probe(a.lease)).toBe(true);
    await expect(a.port.probe({ ...a.lease, id: 'another' })).rejects.toThrow(
      'another process answers there (notThis)',
    );
  });
});
