import type { McpServerLike, ServerContext } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { post, start, type Harness } from '../support/harness.js';
import { bodyOf, call, headersOf, subscribe, type PerRequest } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { announcingServer } from './announcing-server.js';
import { askingServer } from './asking-server.js';

// A client of MCP 2026-07-28 that closes the reply cancels its request (docs/specification/2026-07-28/basic/patterns/cancellation).
// Afterwards nothing of the request remains: its server is closed, no timer is armed, and a drain waits for nothing.

const clock = new FakeClock();
const seen: string[] = [];
const released = new Deferred();
let contexts: ServerContext[] = [];
let closed = 0;
let gate: Deferred | undefined;
let harness: Harness;

/** Counts the ends of its servers, and makes them once the gate is open. */
async function serve(make: () => McpServerLike): Promise<void> {
  harness = await start({
    serverFactory: async (context) => {
      contexts.push(context);
      await gate?.promise;
      const server = make();
      const close = server.close.bind(server);
      server.close = async () => {
        closed += 1;
        await close();
      };
      return server;
    },
    perRequest: true,
    clock,
    requestTimeout: 60_000,
  });
}

beforeEach(() => {
  seen.splice(0);
  contexts = [];
  closed = 0;
  gate = undefined;
});
afterEach(() => harness.close());

/** Closes the reply as soon as `reached` holds, and waits until nothing of the request remains. */
async function hangUp(send: (signal: AbortSignal) => Promise<unknown>, reached: () => boolean): Promise<void> {
  const client = new AbortController();
  const sent = send(client.signal).catch(() => 'gone');
  await until('the request is that far', reached);
  client.abort();
  expect(await sent).toBe('gone');
}

async function expectNothingLeft(): Promise<void> {
  await until('each server is closed', () => closed === contexts.length);
  expect(contexts.every(({ signal }) => signal.aborted)).toBe(true);
  await until('no timer is armed', () => clock.pending === 0);
  await harness.router.drain(60_000);
}

const capabilities = { elicitation: {} };
const callOf =
  (name: string, request: PerRequest = {}) =>
  (signal: AbortSignal) =>
    call(harness.url, name, {}, { capabilities, ...request, signal });

test('before the factory resolves: a server that it makes later is closed', async () => {
  gate = new Deferred();
  await serve(() => askingServer({ seen }));
  await hangUp(callOf('hold'), () => contexts.length === 1);
  await until('the context ends', () => contexts[0]!.signal.aborted);
  gate.resolve();
  await expectNothingLeft();
  expect(seen).toEqual([]);
});

test('while the router lists the tools of the server for a call', async () => {
  await serve(() => {
    const server = askingServer({ seen });
    const handlers = (server.server as unknown as { _requestHandlers: Map<string, unknown> })._requestHandlers;
    handlers.set('tools/list', () => {
      seen.push('listing');
      return new Promise(() => undefined);
    });
    return server;
  });
  await hangUp(callOf('hold'), () => seen.includes('listing'));
  await expectNothingLeft();
  expect(seen).toEqual(['listing']);
});

test('while the handler runs, before and after the first byte of the reply', async () => {
  await serve(() => askingServer({ seen, released }));
  await hangUp(callOf('hold'), () => seen.includes('holding'));
  await until('its signal aborts', () => seen.includes('aborted'));
  seen.splice(0);
  await hangUp(
    async (signal) => {
      const request = { params: { name: 'hold' } };
      const body = bodyOf('tools/call', request);
      const response = await post(harness.url, body, headersOf('tools/call', request), signal);
      seen.push('first byte');
      await response.text();
    },
    () => {
      // The head of a reply that says nothing comes after a second.
      clock.advance(1_000);
      return seen.includes('first byte');
    },
  );
  await until('its signal aborts', () => seen.includes('aborted'));
  await expectNothingLeft();
});

test('of a server whose close never ends: its connection is closed after 5 s', async () => {
  await serve(() => {
    const server = askingServer({ seen });
    server.close = () => new Promise(() => undefined);
    server.server.onclose = () => seen.push('disconnected');
    return server;
  });
  await callOf('session')(new AbortController().signal);
  await until('it is being closed', () => closed === 1);
  expect(seen).toEqual([]);
  clock.advance(5_000);
  await until('its connection is closed', () => seen.includes('disconnected'));
  await expectNothingLeft();
});

test('while the handler waits for an answer: it waits on, until its time is over', async () => {
  await serve(() => askingServer({ seen }));
  const { result } = await callOf('wait')(new AbortController().signal);
  expect(result).toMatchObject({ resultType: 'input_required' });
  harness.http.closeAllConnections();
  expect(seen).toEqual([]);
  clock.advance(600_000);
  await until('it is aborted', () => seen.includes('aborted'));
  await expectNothingLeft();
});

test('while a retry runs: the handler is aborted, and its state is unknown from then on', async () => {
  await serve(() => askingServer({ seen }));
  const { result } = await callOf('hold-after-asking')(new AbortController().signal);
  const { requestState, inputRequests } = result as { requestState: string; inputRequests: object };
  const answer = { action: 'accept', content: { value: 'x' } };
  const inputResponses = Object.fromEntries(Object.keys(inputRequests).map((key) => [key, answer]));
  const retry = callOf('hold-after-asking', { params: { requestState, inputResponses } });
  await hangUp(retry, () => seen.includes('holding'));
  await until('its signal aborts', () => seen.includes('aborted'));
  expect((await retry(new AbortController().signal)).error).toMatchObject({ code: -32602 });
  await expectNothingLeft();
});

describe('of a subscription', () => {
  const notifications = { toolsListChanged: true, resourceSubscriptions: ['test://x'] };
  const listen = async (signal: AbortSignal) => {
    const { stream } = await subscribe(harness.url, notifications, { signal });
    seen.push('acknowledged');
    await stream.messages();
  };

  test('before the factory resolves', async () => {
    gate = new Deferred();
    await serve(() => announcingServer().server);
    await hangUp(listen, () => contexts.length === 1);
    await until('the context ends', () => contexts[0]!.signal.aborted);
    gate.resolve();
    await expectNothingLeft();
  });

  test('while its server is subscribed to a resource', async () => {
    await serve(() => {
      const { server } = announcingServer();
      const handlers = (server as unknown as { _requestHandlers: Map<string, unknown> })._requestHandlers;
      handlers.set('resources/subscribe', () => {
        seen.push('subscribing');
        return new Promise(() => undefined);
      });
      return server;
    });
    await hangUp(listen, () => seen.includes('subscribing'));
    await expectNothingLeft();
    expect(seen).toEqual(['subscribing']);
  });

  test('after the acknowledgement', async () => {
    await serve(() => announcingServer().server);
    await hangUp(listen, () => seen.includes('acknowledged'));
    await expectNothingLeft();
  });
});

test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
  'answers under the key %s are ignored, and the question is asked again (basic/patterns/mrtr)',
  async (key) => {
    await serve(() => askingServer({ seen }));
    const first = await callOf('once')(new AbortController().signal);
    const { requestState } = first.result as { requestState: string };
    // As text, where `__proto__` is a key like any other.
    const body = JSON.stringify(
      bodyOf('tools/call', { capabilities, params: { name: 'once', arguments: {}, requestState } }),
    );
    const answer = '{"action":"accept","content":{"value":"x"}}';
    const withAnswer = body.replace('"requestState":', `"inputResponses":{"${key}":${answer}},"requestState":`);
    const headers = headersOf('tools/call', { params: { name: 'once' } });
    const stream = new EventStream(await post(harness.url, withAnswer, headers));
    expect(await stream.message()).toMatchObject({ result: { resultType: 'input_required' } });
    expect(({} as { action?: unknown }).action).toBeUndefined();
  },
);
