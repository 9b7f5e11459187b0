import { transportContext, transportOwner } from '../support/transport-context.js';
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { ERRORS, Refusal } from '../../src/errors.js';
import { memoryEventStore } from '../../src/index.js';
import type { PostInit } from '../../src/transport/transport-types.js';
import { HttpTransport } from '../../src/transport/transport.js';
import { FakeClock } from '../support/fake-clock.js';
import { messagesOf } from '../support/harness.js';
import { soon } from '../support/waiting.js';

// Another node may own the session from the fence on (docs/scaling.md). What its server says from then on must reach no client
// of this node: a request that is not answered gets an error, and its client asks again.

const { code } = ERRORS.outcomeUnknown;
const call = (id: number) => ({ jsonrpc: '2.0', id, method: 'work' }) as JSONRPCMessage;

const clock = new FakeClock();
let owner: ReturnType<typeof transportOwner>;
let transport: HttpTransport;
let server: http.Server;
/** Called for each request. The client gets the error that it rejects with. */
let serve: (res: ServerResponse) => Promise<void>;

function begin(enableJsonResponse = false, eventStore?: ReturnType<typeof memoryEventStore>): void {
  const context = transportContext(clock, { enableJsonResponse });
  owner = transportOwner();
  transport = new HttpTransport({
    context,
    onDisconnect: 'continue',
    session: { id: 'lost', epoch: 0, eventStore, owner },
  });
  transport.protocolVersion = '2025-11-25';
}

beforeAll(async () => {
  server = http.createServer((_req, res) => {
    void serve(res).catch((error: unknown) => {
      res.writeHead(error instanceof Refusal ? 503 : 500).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => transport.close());
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const ask = (): Promise<Response> => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
const post =
  (messages: readonly JSONRPCMessage[], init: Partial<PostInit> = {}) =>
  (res: ServerResponse): Promise<void> =>
    transport.post(res, messages, { batch: false, extra: {}, lease: { release: () => undefined }, ...init });

/** Takes each request, loses the session, and answers only then. */
function loseBeforeTheAnswer(): void {
  transport.onmessage = (message) => {
    owner.mayNotRespond = true;
    const { id } = message as { id?: number };
    if (id !== undefined) void transport.send({ jsonrpc: '2.0', id, result: { mine: true } });
  };
}

describe("a reply of a session that another node may own from the fence on (docs/scaling.md, 'Leases')", () => {
  test.each<[name: string, json: boolean, messages: JSONRPCMessage[], batch: boolean]>([
    ['SSE', false, [call(1)], false],
    ['SSE, of a batch', false, [call(1), call(2)], true],
    ['JSON', true, [call(1)], false],
    ['JSON, of a batch', true, [call(1), call(2)], true],
  ])(
    'tells each request that its outcome is not known, and no answer of the server: %s',
    async (_, json, all, batch) => {
      begin(json);
      loseBeforeTheAnswer();
      serve = post(all, { batch });
      const response = await soon('the reply', ask());
      const text = await response.text();
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe(json ? 'application/json' : 'text/event-stream');
      const messages = json ? [JSON.parse(text) as unknown].flat() : messagesOf(text);
      expect(messages).toMatchObject(all.map((_each, n) => ({ id: n + 1, error: { code } })));
      expect(json && text.startsWith('[')).toBe(json && batch);
    },
  );

  test('is broken off when the other node may have answered already', async () => {
    begin();
    loseBeforeTheAnswer();
    owner.pastGracePeriod = true;
    serve = post([call(1)]);
    await expect(ask().then((response) => response.text())).rejects.toThrow();
  });

  test('is broken off after an event that its client can resume from', async () => {
    begin(false, memoryEventStore({ clock }));
    transport.onmessage = () => {
      setTimeout(() => {
        owner.mayNotRespond = true;
        void transport.send({ jsonrpc: '2.0', id: 1, result: { mine: true } });
      });
    };
    serve = post([call(1)]);
    const response = await soon('the head', ask());
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  test('is 503 for a notification, which the other node has not seen', async () => {
    begin();
    loseBeforeTheAnswer();
    serve = post([{ jsonrpc: '2.0', method: 'notifications/any' }]);
    expect((await soon('the reply', ask())).status).toBe(503);
  });

  test('is 503 with Retry-After for a stream that has not begun, so that its client tries again', async () => {
    begin();
    serve = async (res) => {
      const started = transport.get(res, undefined);
      owner.mayNotRespond = true;
      await started;
    };
    const response = await soon('the reply', ask());
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await response.json()).toMatchObject({ error: { code: -32000 } });
  });
});
