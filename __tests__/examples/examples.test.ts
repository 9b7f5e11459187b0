import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { initializeBody, post } from '../support/harness.js';
import { problemsOf, visit } from '../support/examination.js';
import { freePort } from '../support/free-port.js';
import { RedisServer } from '../support/redis-server.js';
import { soon } from '../support/waiting.js';
import { Example } from './example.js';

let example: Example | undefined;
afterEach(async () => {
  await example?.stop();
  example = undefined;
});

async function begin(name: string, env: Record<string, string> = {}, alias: Record<string, string> = {}) {
  example = await Example.start(`examples/${name}/server.ts`, env, alias);
  return example;
}

const sum = (a: number, b: number) => ({ name: 'add', arguments: { a, b } });

describe.each([
  ['minimal', {}],
  ['express-4', { express: 'express4' }],
  ['fastify', {}],
  ['hono', {}],
  ['nestjs', {}],
  ['node-http', {}],
  ['sdk-v2', {}],
])('examples/%s', (name, alias) => {
  test('serves clients of both eras, refuses what it cannot read with JSON-RPC, and ends on SIGTERM', async () => {
    const { url } = await begin(name, {}, alias);
    const early = await example!.client();
    expect(await early.callTool(sum(1, 2))).toMatchObject({ content: [{ type: 'text', text: '3' }] });
    await early.close();
    const later = await example!.laterClient();
    expect(await later.callTool(sum(2, 2))).toMatchObject({ content: [{ type: 'text', text: '4' }] });
    await later.close();

    const bad = await post(url, '{"jsonrpc":');
    expect([bad.status, await bad.json()]).toMatchObject([400, { jsonrpc: '2.0', error: { code: -32700 } }]);
    // Larger than what frameworks take by default.
    const large = await post(url, JSON.stringify(initializeBody()) + ' '.repeat(3_000_000));
    expect(large.status).toBe(200);
    await large.text();

    expect(problemsOf(await visit(url))).toEqual({});

    expect(await example!.stop()).toBe(0);
  });
});

describe('examples/authentication', () => {
  const ISSUER = 'https://idp.example';
  let keys: Server;
  let jwks: string;
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  beforeAll(async () => {
    const body = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256' }] });
    keys = createServer((_req, res) => res.setHeader('content-type', 'application/json').end(body));
    await new Promise<void>((done) => keys.listen(0, '127.0.0.1', done));
    jwks = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/`;
  });
  afterAll(() => {
    keys.closeAllConnections();
    keys.close();
  });

  const PUBLIC = 'https://mcp.example.com/mcp';
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  /** A JWT of the issuer, by RFC 7515, 3.1. */
  const bearer = (claims: object, aud = PUBLIC) => {
    const exp = Math.floor(Date.now() / 1_000) + 300;
    const body = `${encode({ alg: 'RS256', kid: 'k' })}.${encode({ iss: ISSUER, aud, exp, client_id: 'cli', ...claims })}`;
    return { authorization: `Bearer ${body}.${sign('sha256', Buffer.from(body), privateKey).toString('base64url')}` };
  };

  test('knows users by their token, says where to sign in, and refuses with a reason (docs/authentication.md)', async () => {
    const app = await begin('authentication', { OAUTH_ISSUER: ISSUER, OAUTH_JWKS_URL: jwks, PUBLIC_URL: PUBLIC });
    const alice = bearer({ sub: 'alice' });
    const client = await app.client(alice);
    const named = { content: [{ text: JSON.stringify({ iss: ISSUER, sub: 'alice' }) }] };
    expect(await client.callTool({ name: 'whoami' })).toMatchObject(named);
    await client.close();
    const later = await app.laterClient(alice);
    expect(await later.callTool({ name: 'whoami' })).toMatchObject(named);
    await later.close();

    const unknown = await post(app.url, initializeBody());
    expect(unknown.status).toBe(401);
    const metadata = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp';
    expect(unknown.headers.get('www-authenticate')).toContain(`resource_metadata="${metadata}"`);
    const document = await fetch(new URL(new URL(metadata).pathname, app.url));
    expect(await document.json()).toMatchObject({ resource: PUBLIC, authorization_servers: [ISSUER] });

    const stolen = await post(app.url, initializeBody(), bearer({ sub: 'alice' }, 'https://other.example'));
    expect(stolen.status).toBe(401);
    const unpaid = await post(app.url, initializeBody(), bearer({ sub: 'bob', plan: 'none' }));
    expect([unpaid.status, await unpaid.json()]).toMatchObject([
      403,
      { error: { message: 'Your plan has no access to this server' } },
    ]);

    const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
    const origin = 'https://app.example.com';
    const preflight = await fetch(app.url, { method: 'OPTIONS', headers: { origin, ...asked } });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, origin]);
    expect((await fetch(`${app.url.href}/metrics`, { headers: alice })).status).toBe(404);
  });
});

test('examples/redis: a session and its count survive a restart of the process', async () => {
  const redis = await RedisServer.start();
  const env = { REDIS_URL: redis.url, PORT: String(await freePort()) };
  const client = await (await begin('redis', env)).client();
  const count = () => client.callTool({ name: 'count' });
  expect(await count()).toMatchObject({ content: [{ text: '1' }] });
  expect(await example!.stop()).toBe(0);
  await begin('redis', env);
  expect(await count()).toMatchObject({ content: [{ text: '2' }] });
  await client.close();
  await example!.stop();
  await redis.stop();
});

test('examples/tenants: each tenant has its own tools, and none reaches the session of another', async () => {
  const app = await begin('tenants');
  const key = (name: string) => ({ 'x-api-key': `${name}-key` });
  const tools = async (name: string) => {
    const client = await app.client(key(name));
    const names = (await client.listTools()).tools.map((tool) => tool.name);
    await client.close();
    return names;
  };
  expect([await tools('acme'), await tools('globex')]).toEqual([['forecast', 'invoice'], ['forecast']]);
  const opened = await post(app.url, initializeBody(), key('acme'));
  await opened.text();
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' };
  const status = async (headers: Record<string, string>) =>
    (await post(app.url, { jsonrpc: '2.0', id: 1, method: 'ping' }, headers)).status;
  expect([
    await status({ ...session, ...key('acme') }),
    await status({ ...session, ...key('globex') }),
    await status(session),
  ]).toEqual([200, 404, 401]);
  const suspended = await post(app.url, initializeBody(), key('initech'));
  expect([suspended.status, await suspended.json()]).toMatchObject([403, { error: { code: -32010 } }]);
});

test('examples/webhooks: a webhook tells the clients that subscribed to what it changes', async () => {
  const app = await begin('webhooks');
  const client = await app.client();
  const updated = new Promise((resolve) =>
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => resolve(params.uri)),
  );
  await client.subscribeResource({ uri: 'stock://apples' });
  const hook = (body: object) =>
    fetch(new URL('/webhooks/stock', app.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  expect((await hook({ item: 'apples' })).status).toBe(400);
  // The client opens its stream after `connect` has resolved.
  const told = async (): Promise<unknown> => {
    const counts = (await (await hook({ item: 'apples', count: 3 })).json()) as { delivered: number };
    return counts.delivered === 1 ? counts : told();
  };
  expect(await soon('the client has a stream', told())).toEqual({ delivered: 1, stored: 0, dropped: 0 });
  expect(await soon('the client is told', updated)).toBe('stock://apples');
  expect(await client.readResource({ uri: 'stock://apples' })).toMatchObject({ contents: [{ text: '3' }] });
  await client.close();
});
