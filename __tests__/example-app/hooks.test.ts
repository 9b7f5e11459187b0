import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { next, startApp, type ConnectedClient, type StartedApp } from './start.js';

const TOKEN = 'a-token-of-operators-of-the-example-app';
const JSON_BODY = { 'content-type': 'application/json' };

let app: StartedApp;
afterEach(() => app.close());

const announce = (body: unknown, headers: Record<string, string> = JSON_BODY) =>
  fetch(`${app.url}/hooks/announce`, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

const heard = ({ client }: ConnectedClient) =>
  next<{ params: unknown }>((handler) => client.setNotificationHandler(LoggingMessageNotificationSchema, handler));

async function listener(headers: Record<string, string> = {}): Promise<ConnectedClient> {
  const connected = await app.connect({ headers });
  await connected.listening;
  return connected;
}

describe('POST /hooks/announce (example-app/README.md, "Announce from outside")', () => {
  it('tells all clients something, and says how many got it', async () => {
    app = await startApp();
    const clients = [await listener(), await listener()];
    const all = clients.map(heard);
    const response = await announce({ text: 'noon', level: 'warning' });
    expect([response.status, await response.json()]).toEqual([200, { delivered: 2, stored: 0, dropped: 0 }]);
    for (const { params } of await Promise.all(all)) {
      expect(params).toEqual({ level: 'warning', logger: 'announce', data: 'noon' });
    }
  });

  it('tells one session, or the sessions of one user', async () => {
    app = await startApp({ MCP_AUTH_TRUST_PROXY_IDENTITY: 'true' });
    const alice = await listener({ 'x-preferred-username': 'alice' });
    await listener({ 'x-preferred-username': 'bob' });
    for (const target of [{ session: alice.transport.sessionId }, { principal: 'alice' }]) {
      const told = heard(alice);
      const response = await announce({ text: 'hello', ...target });
      expect(await response.json()).toMatchObject({ delivered: 1 });
      expect((await told).params).toMatchObject({ level: 'notice', data: 'hello' });
    }
  });

  it('refuses a body that it does not know', async () => {
    app = await startApp();
    for (const body of [{}, { text: '' }, { text: 'a', level: 'loud' }, { text: 'a', other: 1 }, [], '{', 'null']) {
      const response = await announce(body);
      expect([body, response.status]).toEqual([body, 400]);
      expect(await response.json()).toEqual({ error: expect.any(String) as string });
    }
    expect((await announce({ text: 'a', session: 'b', principal: 'c' })).status).toBe(400);
    expect((await announce({ text: 'a' }, { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await announce({ text: 'a'.repeat(20_000) })).status).toBe(413);
  });

  it('serves no request without a token where the app has a public name, as a proxy may add no header', async () => {
    app = await startApp({ MCP_ALLOWED_HOSTS: '127.0.0.1,mcp.example.com' });
    expect((await announce({ text: 'a' })).status).toBe(403);
  });

  it('refuses a web page of another site, a name that is not local, and what came past a proxy', async () => {
    app = await startApp();
    const others = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'x-forwarded-for': '127.0.0.1' },
      { 'x-forwarded-host': 'localhost' },
      { forwarded: 'for=127.0.0.1' },
      { via: '1.1 proxy' },
    ];
    for (const headers of others) {
      expect([headers, (await announce({ text: 'a' }, { ...JSON_BODY, ...headers })).status]).toEqual([headers, 403]);
    }
  });

  it('takes the token from anywhere, as a bearer token or as a password, and then nothing without it', async () => {
    app = await startApp({ MCP_ADMIN_TOKEN: TOKEN });
    const basic = (password: string) => `Basic ${Buffer.from(`operator:${password}`).toString('base64')}`;
    for (const authorization of [`Bearer ${TOKEN}`, basic(TOKEN)]) {
      const headers = { ...JSON_BODY, authorization, 'x-forwarded-for': '192.0.2.1' };
      expect((await announce({ text: 'a' }, headers)).status).toBe(200);
      expect((await announce({ text: 'a' }, { ...headers, origin: 'https://evil.example' })).status).toBe(403);
    }
    for (const authorization of ['', 'Bearer x', `Bearer ${TOKEN}x`, basic('x'), 'Basic !', TOKEN]) {
      const response = await announce({ text: 'a' }, { ...JSON_BODY, authorization });
      expect([authorization, response.status]).toEqual([authorization, 401]);
      expect(response.headers.get('www-authenticate')).toMatch(/^Basic /);
    }
  });
});

describe('/admin (docs/admin.md)', () => {
  const visit = (headers: Record<string, string> = {}) => fetch(`${app.url}/admin/`, { headers });

  it('serves this machine, and nothing that came past a proxy', async () => {
    app = await startApp();
    expect(await (await visit()).text()).toContain('<title>MCP sessions</title>');
    expect((await visit({ 'x-forwarded-for': '127.0.0.1' })).status).toBe(403);
  });

  it('takes the token as a password, from anywhere', async () => {
    app = await startApp({ MCP_ADMIN_TOKEN: TOKEN });
    const authorization = `Basic ${Buffer.from(`operator:${TOKEN}`).toString('base64')}`;
    expect((await visit({ authorization, 'x-forwarded-for': '192.0.2.1' })).status).toBe(200);
    expect((await visit()).status).toBe(401);
  });
});
