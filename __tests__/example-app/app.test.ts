import fc from 'fast-check';
import request from 'supertest';
import { escapeHtml, renderPage } from '../../example-app/src/page.js';
import { quietApp, startApp } from './start.js';

describe('the page at /', () => {
  const sessions = { active: 0, orphaned: 0 };
  const facts = { scheme: 'http', host: '127.0.0.1:3000', stateless: false, perRequest: false, sessions };

  it('says how to connect a client, at the address by which it was reached', async () => {
    const { app } = await quietApp();
    const { status, headers, text } = await request(app).get('/').set('Host', 'mcp.example.com:8443');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers['x-powered-by']).toBeUndefined();
    const url = 'http://mcp.example.com:8443/mcp';
    expect(text).toContain(`claude mcp add --transport http example ${url}`);
    expect(text).toContain(`inspector --cli ${url} --transport http`);
    expect(text).toContain(`curl -i ${url}`);
    const json = /<pre>(\{\n[^<]*)<\/pre>/.exec(text)?.[1]?.replaceAll('&quot;', '"') ?? '';
    expect(JSON.parse(json)).toEqual({ mcpServers: { example: { type: 'http', url } } });
  });

  it('counts the live sessions', async () => {
    const app = await startApp();
    const page = async () => (await fetch(app.url)).text();
    expect(await page()).toContain('<b>0</b> live sessions');
    const { client, transport } = await app.connect();
    await client.ping();
    expect(await page()).toContain('<b>1</b> live session,');
    await app.connect();
    expect(await page()).toContain('<b>2</b> live sessions');
    await transport.terminateSession();
    expect(await page()).toContain('<b>1</b> live session,');
    await app.close();
  });

  it('gives a curl command that opens a session', async () => {
    const app = await startApp();
    const text = await (await fetch(app.url)).text();
    const body = /-d &#39;(.*)&#39;<\/pre>/.exec(text)?.[1]?.replaceAll('&quot;', '"');
    const response = await fetch(`${app.url}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      ...(body !== undefined && { body }),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('mcp-session-id')).toMatch(/^[\x21-\x7e]{16,}$/);
    await response.text();
    await app.close();
  });

  it('speaks of no sessions, and of no tools that need one, when stateless', () => {
    const page = renderPage({ ...facts, stateless: true });
    expect(page).toContain('stateless: no sessions');
    expect(page).toContain('countdown');
    expect(page).not.toContain('add_note');
    expect(renderPage(facts)).toContain('add_note');
  });

  it('says that clients of MCP 2026-07-28 need no session, and has their tools when stateless too', () => {
    const page = renderPage({ ...facts, stateless: true, perRequest: true });
    expect(page).toContain('Clients of MCP 2026-07-28 need none.');
    expect(page).toContain('add_note');
    expect(renderPage(facts)).not.toContain('2026-07-28');
  });

  it('fetches nothing and runs no script, and its policy forbids both', async () => {
    const { app } = await quietApp();
    const { headers, text } = await request(app).get('/');
    expect(headers['content-security-policy']).toBe("default-src 'none'; style-src 'unsafe-inline'");
    expect(text).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\son\w+=/i);
    const links = [...text.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, target]) => target);
    expect(links).toEqual(['/metrics', '/admin', '/healthz', '/readyz']);
  });

  it('repeats no Host that is more than a host and a port, as people paste what it says into a shell', () => {
    const bad = ['"><script>alert(1)</script>', 'a;rm -rf ~', '$(id)', 'a b', '`id`', 'a/b', "a'b", 'a:b', ''];
    for (const host of [...bad, undefined]) {
      const page = renderPage({ ...facts, host });
      expect(page).toContain('claude mcp add --transport http example http://localhost:3000/mcp<');
      expect(page).not.toContain('alert');
    }
    fc.assert(
      fc.property(fc.string(), (host) => {
        const [, shown = ''] = /example http:\/\/(.*)\/mcp<\/pre>/.exec(renderPage({ ...facts, host })) ?? [];
        expect([host, 'localhost:3000']).toContain(shown);
        expect(shown).toMatch(/^[\w.:[\]-]+$/);
      }),
    );
    for (const host of ['localhost', 'a-b.example:80', '[::1]:3000', '192.0.2.1:1']) {
      expect(renderPage({ ...facts, host })).toContain(`example http://${host}/mcp<`);
    }
  });

  it('escapes every character that HTML gives a meaning', () => {
    expect(escapeHtml(`<a b="c" d='e'>&amp;`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;');
  });
});

describe("the example app's endpoints", () => {
  it('/metrics serves the metrics of the router and of the process, in one registry', async () => {
    const app = await startApp();
    await app.connect();
    const text = await (await fetch(`${app.url}/metrics`)).text();
    expect(text).toMatch(/^mcp_sessions_active 1$/m);
    expect(text).toMatch(/^process_cpu_seconds_total \d/m);
    await app.close();
  });

  it('/metrics stands once, not below the MCP endpoint too', async () => {
    expect((await request((await quietApp()).app).get('/mcp/metrics')).text).not.toContain('mcp_sessions_active');
  });

  it('/healthz says that the process is alive, /readyz that sessions are taken until it drains', async () => {
    const { app, router } = await quietApp();
    expect((await request(app).get('/healthz')).status).toBe(200);
    expect((await request(app).get('/readyz')).status).toBe(200);
    await router.drain(1_000);
    expect((await request(app).get('/healthz')).status).toBe(200);
    expect((await request(app).get('/readyz')).status).toBe(503);
  });

  it('any other path or method gets 404 in plain words', async () => {
    const { app } = await quietApp();
    for (const response of [
      await request(app).get('/nothing'),
      await request(app).post('/'),
      await request(app).get('/.env'),
      await request(app).get('/mcpx'),
    ]) {
      expect(response.status).toBe(404);
      expect(response.headers['content-type']).toBe('text/plain; charset=utf-8');
    }
  });

  it('no answer shows a stack, not even to a path that cannot be decoded', async () => {
    const { app } = await quietApp();
    for (const path of ['/%', '/%E0%A4%A', '/mcp/%', '/mcp%']) {
      const response = await request(app).get(path);
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.text).not.toMatch(/\n\s+at |node_modules/);
    }
  });
});
