import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type RequestHandler } from 'express';
import { BodyReader } from '../../src/http/body.js';
import { Exchange } from '../../src/http/exchange.js';
import { clientRequest } from '../../src/http/mcp-request.js';
import { bodyOf, createReceive, type Post } from '../../src/http/receive.js';
import { systemClock } from '../../src/runtime/clock.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { initializeBody, JSON_HEADERS } from '../support/harness.js';

/** What is received of a body that passes the middleware first. */
async function received(body: string, ...middleware: RequestHandler[]): Promise<Post & { exchange: Exchange }> {
  const options = { maxBodySize: 10_000, maxBodyMemory: 10_000, maxDepth: 200, clock: systemClock };
  const receive = createReceive(new BodyReader(options, new LifecyclePhase()));
  const app = express();
  app.use(...middleware, (_req, _res, next) => next());
  const got = new Promise<Post & { exchange: Exchange }>((resolve, reject) => {
    app.use((req, res) => {
      const exchange = new Exchange(clientRequest(req as IncomingMessage), res, undefined);
      receive(exchange).then((post) => {
        res.end();
        resolve({ ...post, exchange });
      }, reject);
    });
  });
  const server = http.createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await fetch(url, { method: 'POST', headers: JSON_HEADERS, body });
  server.close();
  return got;
}

// `1e400` and `-0` are not what they were after JSON.stringify (ECMA-262, 25.5.2.4).
const REQUEST = '{ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "a": 1e400, "b": -0 } }\n';

describe('the body of a POST, as it goes to another node', () => {
  test.each<[string, RequestHandler[]]>([
    ['the router reads it', []],
    ['express.raw() has read it', [express.raw({ type: '*/*' })]],
    ['express.text() has read it', [express.text({ type: '*/*' })]],
  ])('is byte for byte what came when %s', async (_, middleware) => {
    const post = await received(REQUEST, ...middleware);
    expect(post.messages).toEqual([JSON.parse(REQUEST)]);
    expect(Buffer.from(bodyOf(post)).toString()).toBe(REQUEST);
  });

  test.each([
    ['one message', '{"jsonrpc":"2.0","id":1,"method":"ping"}'],
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"}]'],
    ['an initialize', JSON.stringify(initializeBody())],
  ])('is written anew when express.json() has parsed it: %s', async (_, body) => {
    const post = await received(`  ${body}`, express.json());
    expect(post.raw).toBeUndefined();
    expect(bodyOf(post)).toBe(body);
  });
});

test('the exchange has the ID of the request, which errors quote', async () => {
  const { exchange } = await received(REQUEST);
  expect(exchange.id).toBe(1);
});
