import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import type { OAuthTokenVerifier } from '@modelcontextprotocol/sdk/server/auth/provider.js';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import express, { type Express, type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { createCors } from '../../src/http/cors.js';
import type { McpRouter, McpRouterOptions } from '../../src/index.js';
import { ON_NODE } from '../support/expresses.js';
import { initializeBody, JSON_HEADERS, start, type Harness } from '../support/harness.js';

const servers: http.Server[] = [];

async function listen(server: http.Server): Promise<number> {
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

describe('CORS (Fetch standard, "CORS protocol")', () => {
  async function ask(
    allowedOrigins: string[],
    method: string,
    headers: Record<string, string>,
    allowCredentials = false,
  ) {
    const applyCors = createCors({ allowedOrigins, allowCredentials });
    const server = http.createServer((req, res) => {
      res.setHeader('Vary', 'Accept-Encoding');
      if (applyCors(req, res)) return;
      res.writeHead(299).end('the router');
    });
    const req = http.request({ port: await listen(server), method, headers, agent: false }).end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    res.resume();
    await once(res, 'end');
    return { status: res.statusCode, headers: res.headers };
  }

  const list = (value: string | undefined) => (value ?? '').split(/, ?/).sort();
  const preflight = (origin: string) => ({ Origin: origin, 'Access-Control-Request-Method': 'POST' });
  const corsHeaders = (headers: http.IncomingHttpHeaders) =>
    Object.keys(headers).filter((name) => name.startsWith('access-control-'));

  test('without allowedOrigins no header is set and no preflight is answered', async () => {
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const answer = await ask([], method, preflight('https://app.example'));
      expect(answer.status).toBe(299);
      expect(corsHeaders(answer.headers)).toEqual([]);
      expect(answer.headers.vary).toBe('Accept-Encoding');
    }
  });

  test('a preflight of a listed origin gets 204 and is allowed all headers that it asks for', async () => {
    const wanted = 'content-type,mcp-method,mcp-param-city,traceparent,x-api-key';
    const asked = { ...preflight('https://app.example'), 'Access-Control-Request-Headers': wanted };
    const { status, headers } = await ask(['https://app.example'], 'OPTIONS', asked);
    expect(status).toBe(204);
    expect(headers['access-control-allow-origin']).toBe('https://app.example');
    expect(headers['access-control-allow-headers']).toBe(wanted);
    expect(headers.vary).toBe('Accept-Encoding, Origin, Access-Control-Request-Headers');
    expect(list(headers['access-control-allow-methods'])).toEqual(['DELETE', 'GET', 'POST']);
    expect(headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('a preflight that asks for no header is allowed none', async () => {
    const { status, headers } = await ask(['https://app.example'], 'OPTIONS', preflight('https://app.example'));
    expect(status).toBe(204);
    expect(headers['access-control-allow-headers']).toBeUndefined();
    expect(headers.vary).toContain('Access-Control-Request-Headers');
  });

  test.each(['OPTIONS', 'POST'])(
    'with allowCredentials the answer to %s allows credentials, and names the one origin',
    async (method) => {
      const { headers } = await ask(['https://app.example'], method, preflight('https://app.example'), true);
      expect(headers['access-control-allow-credentials']).toBe('true');
      expect(headers['access-control-allow-origin']).toBe('https://app.example');
      expect(JSON.stringify(headers)).not.toContain('*');
    },
  );

  test.each(['POST', 'GET', 'DELETE'])(
    '%s of a listed origin goes on, and its page may read what it needs',
    async (method) => {
      const { status, headers } = await ask(['https://app.example'], method, { Origin: 'https://app.example' });
      expect(status).toBe(299);
      expect(headers['access-control-allow-origin']).toBe('https://app.example');
      expect(headers.vary).toBe('Accept-Encoding, Origin');
      expect(list(headers['access-control-expose-headers'])).toEqual([
        'MCP-Protocol-Version',
        'Mcp-Session-Id',
        'Retry-After',
        'WWW-Authenticate',
      ]);
    },
  );

  test('each of several origins gets its own, never a list or a star', async () => {
    for (const origin of ['https://a.example', 'https://b.example:8443', 'null']) {
      const answer = await ask(['https://a.example:443', 'https://B.example:8443', 'null'], 'POST', { Origin: origin });
      expect(answer.headers['access-control-allow-origin']).toBe(origin);
    }
  });

  test('an origin that is not listed is not allowed, with or without preflight, and Vary names Origin', async () => {
    for (const origin of ['https://evil.example', 'https://app.example.evil.example', 'null', 'http://app.example']) {
      for (const method of ['OPTIONS', 'POST']) {
        const { headers } = await ask(['https://app.example'], method, preflight(origin));
        expect(headers['access-control-allow-origin']).toBeUndefined();
        expect(headers.vary).toMatch(/^Accept-Encoding, Origin/);
      }
    }
  });

  test("an OPTIONS that is not a preflight gets the router's 405", async () => {
    const answer = await ask(['https://app.example'], 'OPTIONS', { Origin: 'https://app.example' });
    expect(answer.status).toBe(299);
  });
});

describe('router.preflight (docs/identity.md, "Web pages")', () => {
  const ORIGIN = 'https://app.example';
  const verifier: OAuthTokenVerifier = {
    verifyAccessToken: (token) =>
      token === 'good'
        ? Promise.resolve({ token, clientId: 'page', scopes: [], expiresAt: 4e9 })
        : Promise.reject(new InvalidTokenError('not one of ours')),
  };

  /** The middleware of the SDK needs Express. */
  const authenticateOnNode: RequestHandler = (req, res, next) => {
    const token = req.headers.authorization?.replace('Bearer ', '') ?? '';
    verifier.verifyAccessToken(token).then(
      (auth) => next(void Object.assign(req, { auth })),
      () => res.writeHead(401, { 'WWW-Authenticate': 'Bearer' }).end(),
    );
  };
  const authenticate = ON_NODE ? authenticateOnNode : requireBearerAuth({ verifier });

  let harness: Harness;
  afterEach(() => harness.close());

  const begin = async (
    mount: (app: Express, router: McpRouter) => void = (app, router) =>
      app.use('/mcp', router.preflight, authenticate, router),
    options: Partial<McpRouterOptions> = {},
  ): Promise<void> => void (harness = await start({ allowedOrigins: [ORIGIN], ...options }, mount));

  interface Answer {
    readonly status: number;
    /** Every line of the head. */
    readonly lines: [name: string, value: string][];
    readonly body: string;
  }

  /** Sends a request as a page does, with headers that Node's `fetch` refuses to send. */
  async function send(method: string, headers: Record<string, string> = {}, path = '/mcp', body = ''): Promise<Answer> {
    const req = http.request(new URL(path, harness.url), {
      method,
      headers: { Origin: ORIGIN, ...headers },
      agent: false,
    });
    req.end(body);
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    res.setEncoding('utf8');
    let text = '';
    for await (const chunk of res) text += chunk as string;
    const lines = res.rawHeaders.flatMap((name, i, all): [string, string][] =>
      i % 2 === 0 ? [[name.toLowerCase(), all[i + 1]!]] : [],
    );
    return { status: res.statusCode!, lines, body: text };
  }
  const values = ({ lines }: Answer, wanted: string) =>
    lines.filter(([name]) => name === wanted).map(([, value]) => value);
  const ask = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,mcp-method' };
  const initialize = (token?: string) =>
    send(
      'POST',
      { ...JSON_HEADERS, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      '/mcp',
      JSON.stringify(initializeBody()),
    );

  test('answers the preflight, which has no token, before the authentication', async () => {
    await begin();
    const answer = await send('OPTIONS', ask);
    expect(answer.status).toBe(204);
    expect(values(answer, 'access-control-allow-origin')).toEqual([ORIGIN]);
    expect(values(answer, 'access-control-allow-headers')).toEqual(['authorization,mcp-method']);
  });

  test.each([
    ['a refusal by the authentication', undefined, 401],
    ['a refusal of the token', 'bad', 401],
    ['an answer of the router', 'good', 200],
  ])('%s has the CORS headers once', async (_, token, status) => {
    await begin();
    const answer = await initialize(token);
    expect(answer.status).toBe(status);
    expect(values(answer, 'access-control-allow-origin')).toEqual([ORIGIN]);
    expect(values(answer, 'vary')).toEqual(['Origin']);
    const [exposed = '', ...more] = values(answer, 'access-control-expose-headers');
    expect(more).toEqual([]);
    expect(exposed.split(',')).toEqual(expect.arrayContaining(['Mcp-Session-Id', 'WWW-Authenticate']));
    if (status === 401) expect(values(answer, 'www-authenticate')).toHaveLength(1);
  });

  test('the CORS headers are on an error of later middleware, too', async () => {
    await begin((app, router) =>
      app.use('/mcp', router.preflight, (_req: Request, _res: Response, next: NextFunction) =>
        next(Object.assign(new Error('no'), { status: 418, expose: true })),
      ),
    );
    const answer = await send('POST');
    expect(answer.status).toBe(418);
    expect(values(answer, 'access-control-allow-origin')).toEqual([ORIGIN]);
  });

  test('refuses an Origin or a Host before the authentication, as the router does, without CORS headers', async () => {
    await begin();
    for (const [headers, code] of [
      [{ Origin: 'https://evil.example' }, 'Origin not allowed'],
      [{ Host: 'evil.example' }, 'Host not allowed'],
    ] as const) {
      for (const method of ['OPTIONS', 'POST']) {
        const answer = await send(method, { ...ask, ...headers });
        expect([answer.status, answer.body]).toEqual([403, expect.stringContaining(code)]);
        expect(values(answer, 'access-control-allow-origin')).toEqual([]);
      }
    }
  });

  test.each<[string, (app: Express, router: McpRouter) => void, string]>([
    ['below a mount', (app, router) => app.use('/mcp', router.preflight, router), '/mcp'],
    ['with a slash at the end', (app, router) => app.use('/mcp', router.preflight, router), '/mcp/'],
    ['at the root', (app, router) => app.use(router.preflight, router), '/mcp'],
    ['in a nested app', (app, router) => app.use('/api', express().use('/mcp', router.preflight, router)), '/api/mcp'],
  ])('answers at the endpoint %s, and nowhere else', async (_, mount, path) => {
    await begin(mount);
    harness.app.use((_req: Request, res: Response) => void res.writeHead(299).end());
    expect((await send('OPTIONS', ask, path)).status).toBe(204);
    for (const other of ['/mcp/metrics/x', '/elsewhere']) {
      const answer = await send('OPTIONS', ask, other);
      expect([answer.status, values(answer, 'access-control-allow-origin')]).toEqual([299, []]);
    }
  });

  test('lets every request pass without allowedOrigins', async () => {
    await begin((app, router) => app.use('/mcp', router.preflight, authenticate, router), {
      allowedOrigins: [],
    });
    const answer = await send('OPTIONS', { ...ask, Origin: harness.url.origin });
    expect(answer.status).toBe(401);
  });
});

test("allowCredentials is refused with the origin 'null', which any site's page can have", async () => {
  await expect(start({ allowCredentials: true, allowedOrigins: ['null'] })).rejects.toThrow(/allowCredentials.*'null'/);
});
