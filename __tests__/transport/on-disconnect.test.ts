import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { CoreEvents, Outcome } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import type { TransportInit } from '../../src/transport/transport-types.js';
import type { ReplyForm } from '../../src/transport/reply-form.js';
import { HttpTransport } from '../../src/transport/transport.js';
import { FakeClock } from '../support/fake-clock.js';
import { transportContext } from '../support/transport-context.js';
import { Deferred, soon } from '../support/waiting.js';

/** A handler that runs until the test finishes it, or its `signal` aborts. */
interface Running {
  readonly signal: AbortSignal;
  readonly finish: Deferred;
}

const call = (id: number) => ({ jsonrpc: '2.0', id, method: 'wait' }) as JSONRPCMessage;

/** A server on its transport, and a POST for each GET that a client sends. */
class World {
  readonly outcomes: [id: unknown, outcome: Outcome][] = [];
  readonly released = new Deferred();
  readonly replyClosed = new Deferred();
  readonly #running = new Map<unknown, Deferred<Running>>();
  readonly #transport: HttpTransport;
  readonly #http: http.Server;
  readonly #server = new Server({ name: 'waits', version: '1' }, { capabilities: {} });

  constructor(onDisconnect: TransportInit['onDisconnect'], messages: readonly JSONRPCMessage[], form: ReplyForm) {
    const events = new Emitter<CoreEvents>(() => undefined);
    events.on('requestSettled', ({ id }, outcome) => this.outcomes.push([id, outcome]));
    const context = transportContext(new FakeClock(), { events });
    this.#transport = new HttpTransport({ context, onDisconnect });
    const wait = z.object({ method: z.literal('wait') });
    this.#server.setRequestHandler(wait, async (_request, { requestId, signal }) => {
      const finish = new Deferred();
      this.#of(requestId).resolve({ signal, finish });
      await finish.promise;
      return {};
    });
    const lease = { release: () => this.released.resolve() };
    const post = (res: ServerResponse): Promise<void> =>
      this.#transport.post(res, messages, { batch: messages.length > 1, extra: {}, form, lease });
    this.#http = http.createServer((_req, res) => {
      res.once('close', () => this.replyClosed.resolve());
      void post(res);
    });
  }

  async start(): Promise<AbortController> {
    await this.#server.connect(this.#transport);
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    const client = new AbortController();
    const url = `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
    fetch(url, { signal: client.signal }).then(
      (response) => response.text().catch(() => undefined),
      () => undefined,
    );
    return client;
  }

  running(id: unknown): Promise<Running> {
    return soon(`the handler of ${String(id)} runs`, this.#of(id).promise);
  }

  async close(): Promise<void> {
    await this.#transport.close();
    this.#http.closeAllConnections();
    this.#http.close();
  }

  #of(id: unknown): Deferred<Running> {
    const running = this.#running.get(id) ?? new Deferred<Running>();
    this.#running.set(id, running);
    return running;
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  soon(
    'the signal aborts',
    new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve()))),
  );

let world: World;
afterEach(() => world.close());

describe.each(['sse', 'json'] as const)('a client that closes the reply to its POST: %s', (form) => {
  test('cancels its requests with `onDisconnect: cancel` (spec 2026-07-28, basic/transports/streamable-http)', async () => {
    world = new World('cancel', [call(1), call(2)], form);
    const client = await world.start();
    const [first, second] = [await world.running(1), await world.running(2)];
    first.finish.resolve();
    client.abort();
    await aborted(second.signal);
    await soon('the lease is released', world.released.promise);
    expect([first.signal.aborted, world.outcomes]).toEqual([
      false,
      [
        [1, 'ok'],
        [2, 'cancelled'],
      ],
    ]);
    expect(second.signal.reason).toBe('The client closed the reply');
  });

  test('cancels nothing with `onDisconnect: continue` (spec 2025-11-25, basic/transports, "Sending Messages to the Server", 6)', async () => {
    world = new World('continue', [call(1)], form);
    const client = await world.start();
    const { signal, finish } = await world.running(1);
    client.abort();
    await soon('the reply has closed', world.replyClosed.promise);
    finish.resolve();
    await soon('the lease is released', world.released.promise);
    expect([signal.aborted, world.outcomes]).toEqual([false, [[1, 'ok']]]);
  });
});
