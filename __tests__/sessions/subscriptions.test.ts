import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import type { McpRouterOptions } from '../../src/index.js';
import { Subscriptions } from '../../src/sessions/records/subscriptions.js';
import type { WireMessage } from '../support/event-stream.js';
import { RawSession } from '../support/raw-session.js';
import { Restartable } from '../support/restartable.js';
import { Deferred, until } from '../support/waiting.js';

const REFUSED = { code: -32000, message: 'Too many subscriptions in this session' };

let endpoint: Restartable;
/** The URIs that the current server was asked to subscribe to, in order. */
let asked: string[];
/** Its handler. */
let subscribe: (uri: string) => void | Promise<void>;

async function begin(options: Partial<McpRouterOptions> = {}): Promise<Restartable> {
  [asked, subscribe] = [[], () => undefined];
  endpoint = await Restartable.start(() => {
    asked = [];
    const { server } = new McpServer(
      { name: 'many', version: '1' },
      { capabilities: { resources: { subscribe: true } } },
    );
    server.setRequestHandler(SubscribeRequestSchema, async ({ params }) => {
      asked.push(params.uri);
      await subscribe(params.uri);
      return {};
    });
    server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));
    return server;
  }, options);
  return endpoint;
}

afterEach(() => endpoint.stop());

class Subscriber {
  #asked = 0;

  constructor(readonly session: RawSession) {}

  /** The answer to the client: the result, or the error. */
  async ask(method: 'subscribe' | 'unsubscribe', uri: string): Promise<unknown> {
    const answer = await this.session.call((this.#asked += 1), `resources/${method}`, { uri });
    return 'error' in answer ? answer.error : (answer as WireMessage).result;
  }

  async stored(): Promise<string[]> {
    const record = await endpoint.store.get(this.session.id);
    return (JSON.parse(record!.data) as { subscriptions?: string[] }).subscriptions ?? [];
  }
}

const open = async (): Promise<Subscriber> => new Subscriber(await RawSession.open(endpoint.url));

describe('maxSubscriptions (docs/restart.md, "What survives")', () => {
  test('refuses a subscription before the server sees it; a repeated one is allowed, and an unsubscribed one makes room', async () => {
    await begin({ maxSubscriptions: 2 });
    const client = await open();
    for (const uri of ['a', 'b', 'a']) expect(await client.ask('subscribe', uri)).toEqual({});
    expect(await client.ask('subscribe', 'c')).toEqual(REFUSED);
    expect(asked).toEqual(['a', 'b', 'a']);
    expect(await client.ask('unsubscribe', 'a')).toEqual({});
    expect(await client.ask('subscribe', 'c')).toEqual({});
    expect(await client.stored()).toEqual(['b', 'c']);
    endpoint.crash();
    expect(await client.ask('subscribe', 'd')).toEqual(REFUSED);
    expect(asked).toEqual(['b', 'c']);
  });

  test('counts requests in flight, and one that fails or is cancelled makes room again', async () => {
    await begin({ maxSubscriptions: 2 });
    const client = await open();
    const gates = new Map<string, Deferred>();
    subscribe = async (uri) => {
      const gate = new Deferred();
      gates.set(uri, gate);
      await gate.promise;
      if (uri === 'fails') throw new Error('no');
    };
    const failing = client.ask('subscribe', 'fails');
    await until('both are asked for', () => gates.has('fails'));
    const cancelled = client.session.request(100, 'resources/subscribe', { uri: 'cancelled' });
    await until('both are asked for', () => gates.has('cancelled'));
    expect(await client.ask('subscribe', 'third')).toEqual(REFUSED);
    gates.get('fails')!.resolve();
    expect(await failing).toMatchObject({ code: -32603 });
    await client.session.cancel(100);
    await (await cancelled).text();
    subscribe = () => undefined;
    for (const uri of ['a', 'b']) expect(await client.ask('subscribe', uri)).toEqual({});
    expect(await client.ask('subscribe', 'c')).toEqual(REFUSED);
    expect(await client.stored()).toEqual(['a', 'b']);
  });

  test('allows as many subscriptions at once, and writes the waiting ones together', async () => {
    await begin({ maxSubscriptions: 50 });
    const client = await open();
    const uris = Array.from({ length: 60 }, (_, n) => `note:${n}`);
    const answers = await Promise.all(uris.map((uri) => client.ask('subscribe', uri)));
    expect(answers.filter((answer) => (answer as { code?: number }).code === REFUSED.code)).toHaveLength(10);
    expect(new Set(await client.stored())).toEqual(new Set(asked));
    expect(asked).toHaveLength(50);
  });

  test('allows 128 bytes a URI on average', async () => {
    await begin({ maxSubscriptions: 2 });
    const client = await open();
    expect(await client.ask('subscribe', 'ü'.repeat(129))).toEqual(REFUSED);
    expect(await client.ask('subscribe', 'ü'.repeat(127))).toEqual({});
    expect(await client.ask('subscribe', 'abc')).toEqual(REFUSED);
    expect(await client.ask('subscribe', 'ab')).toEqual({});
  });

  test('applies to a session that does not outlive its server, as router.notify looks its subscriptions up', async () => {
    await begin({ maxSubscriptions: 1, store: undefined });
    const client = await open();
    expect(await client.ask('subscribe', 'a')).toEqual({});
    expect(await client.ask('subscribe', 'b')).toEqual(REFUSED);
    expect(await client.ask('unsubscribe', 'a')).toEqual({});
    expect(await client.ask('subscribe', 'b')).toEqual({});
  });

  test('holds for the number and the bytes after any reserving, freeing, adding and deleting (property)', () => {
    const uri = fc.constantFrom('', 'a', 'b', 'c', 'd', 'x'.repeat(200), 'y'.repeat(300), 'z'.repeat(500));
    const act = fc.record({ act: fc.constantFrom('reserve', 'settle', 'fail', 'delete'), uri });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const subscriptions = new Subscriptions([], 4);
        const kept = new Set<string>();
        const open: { jsonrpc: '2.0'; id: number; method: string; params: { uri: string } }[] = [];
        for (const [id, { act, uri }] of acts.entries()) {
          const request = { jsonrpc: '2.0' as const, id, method: 'resources/subscribe', params: { uri } };
          if (act === 'delete') {
            subscriptions.delete(uri);
            kept.delete(uri);
          } else if (act === 'reserve') {
            const fits =
              kept.size + open.length < 4 && size([...kept, ...open.map(({ params }) => params.uri), uri]) <= 512;
            const may = subscriptions.reserve(request);
            // Requests for an existing subscription do not count.
            if (!open.some(({ params }) => kept.has(params.uri))) expect(may).toBe(kept.has(uri) || fits);
            if (may && !kept.has(uri)) open.push(request);
          } else {
            const settled = open.shift();
            if (settled === undefined) continue;
            subscriptions.free(settled);
            if (act === 'settle') {
              subscriptions.add(settled.params.uri);
              kept.add(settled.params.uri);
            }
          }
          expect(new Set(subscriptions.all())).toEqual(kept);
          expect(kept.size).toBeLessThanOrEqual(4);
          expect(size([...kept])).toBeLessThanOrEqual(512);
        }
      }),
    );
  });
});

const size = (uris: readonly string[]): number => Buffer.byteLength(uris.join(''));

describe('subscriptions are repeated without holding up the event loop', () => {
  /** Counts calls between two turns of the event loop. */
  class TurnCounter {
    most = 0;
    #count = 0;

    count(): void {
      if (this.#count === 0) setImmediate(() => (this.#count = 0));
      this.#count += 1;
      this.most = Math.max(this.most, this.#count);
    }
  }

  /** Opens sessions with that many subscriptions, whose records outlive their process. */
  async function stored(sessions: number, subscriptions: number): Promise<RawSession[]> {
    const uris = Array.from({ length: subscriptions }, (_, n) => n.toString(36).padStart(3, '0'));
    const opened: RawSession[] = [];
    for (let n = 0; n < sessions; n += 1) {
      const session = await RawSession.open(endpoint.url);
      const { data, epoch } = (await endpoint.store.get(session.id))!;
      const record = { ...(JSON.parse(data) as object), subscriptions: uris };
      await endpoint.store.update(session.id, epoch, JSON.stringify(record), 3_600_000);
      opened.push(session);
    }
    endpoint.crash();
    return opened;
  }

  test.each([
    ['at once', () => undefined],
    ['in a promise', () => Promise.resolve()],
  ])('five sessions at once, whose server takes 0.3 ms for each of 400, %s', async (_when, first) => {
    await begin();
    const sessions = await stored(5, 400);
    const turns = new TurnCounter();
    let count = 0;
    subscribe = async () => {
      await first();
      endpoint.clock.block(0.3);
      turns.count();
      count += 1;
    };
    const answers = await Promise.all(sessions.map((session) => session.call(1, 'ping')));
    expect(answers.map(({ result }) => result)).toEqual(sessions.map(() => ({})));
    expect(count).toBe(5 * 400);
    // Four fill a turn's budget of 1 ms and exceed it by one. The counter may count two turns as one.
    expect(turns.most).toBeLessThanOrEqual(8);
  });

  test('a slow server gets all subscriptions before it has answered the first', async () => {
    await begin();
    const [session] = await stored(1, 100);
    const gate = new Deferred();
    subscribe = () => gate.promise;
    const answer = session!.call(1, 'ping');
    await until('all are asked for', () => asked.length === 100);
    gate.resolve();
    expect(await answer).toMatchObject({ result: {} });
  });

  test('a record with 21,000 of an earlier version is restored with the first 1,000, and the loss is logged', async () => {
    await begin();
    const [session] = await stored(1, 21_000);
    expect(await session!.call(1, 'ping')).toMatchObject({ result: {} });
    expect(asked).toHaveLength(1_000);
    expect(endpoint.log.text).toContain('20000 subscriptions beyond maxSubscriptions are lost');
    expect(await new Subscriber(session!).ask('subscribe', 'another')).toEqual(REFUSED);
  });

  test('a server whose session ends meanwhile gets no more of them', async () => {
    await begin();
    const [session] = await stored(1, 1_000);
    subscribe = () => {
      endpoint.clock.block(1);
      if (asked.length === 10) void endpoint.router.sessions.close(session!.id);
    };
    const response = await session!.request(1, 'ping');
    expect(response.status).toBe(404);
    await response.text();
    expect(asked.length).toBeLessThan(100);
  });
});
