import type { McpRouterOptions } from '../../src/index.js';
import { initializeBody, JSON_HEADERS, start, type Harness } from '../support/harness.js';
import { RawSocket, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';

const ORIGIN = 'https://app.example';
const PREFLIGHT: [string, string][] = [
  ['Origin', ORIGIN],
  ['Access-Control-Request-Method', 'POST'],
  ['Access-Control-Request-Headers', 'content-type,mcp-session-id'],
];

let harness: Harness;
let socket: RawSocket;
const started = async (options: Partial<McpRouterOptions> = {}) => {
  harness = await start(options);
  socket = await RawSocket.open(harness.url.port);
};
afterEach(async () => {
  socket.destroy();
  await harness.close();
});

const initialize = (...headers: [string, string][]): Promise<RawResponse> =>
  socket.exchange('POST', '/mcp', [...Object.entries(JSON_HEADERS), ...headers], JSON.stringify(initializeBody()));

describe('methods that the endpoint does not have (RFC 9110, 15.5.6: 405 with Allow)', () => {
  test.each(['PUT', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND'])('%s', async (method) => {
    await started();
    const response = await socket.exchange(
      method,
      '/mcp',
      Object.entries(JSON_HEADERS),
      JSON.stringify(initializeBody()),
    );
    expectRow(response, 'methodNotAllowed');
    expect(response.headers.get('allow')).toBe('GET, POST, DELETE');
    expect(harness.router.sessions.list()).toEqual([]);
  });

  test('HEAD, whose answer has no body', async () => {
    await started();
    const response = await socket.exchange('HEAD', '/mcp', [['Accept', 'text/event-stream']]);
    expect(response).toMatchObject({ status: 405, body: '' });
    expect(response.headers.get('allow')).toBe('GET, POST, DELETE');
    expect(await initialize()).toMatchObject({ status: 200 });
  });

  test.each(['GET', 'DELETE', 'PUT', 'OPTIONS'])('%s of a stateless endpoint, which has POST only', async (method) => {
    await started({ stateless: true });
    const response = await socket.exchange(method, '/mcp', [['Accept', 'text/event-stream']]);
    expectRow(response, 'methodNotAllowed');
    expect(response.headers.get('allow')).toBe('POST');
  });
});

describe('CORS (Fetch, 3.3), which allowedOrigins turns on', () => {
  const exposed = (response: RawResponse) => response.headers.get('access-control-expose-headers')?.toLowerCase();

  test('a preflight is answered before the principal is identified, as browsers send no credentials with it', async () => {
    await started({ allowedOrigins: [ORIGIN], requirePrincipal: true });
    const response = await socket.exchange('OPTIONS', '/mcp', PREFLIGHT);
    expect(response).toMatchObject({ status: 204, body: '' });
    expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(response.headers.get('access-control-allow-methods')).toMatch(/POST/);
    expect(response.headers.get('access-control-allow-headers')?.toLowerCase()).toMatch(/content-type.*mcp-session-id/);
    expectRow(await initialize(['Origin', ORIGIN]), 'unauthorized');
  });

  test('answers and errors can be read by the page, and so can Mcp-Session-Id', async () => {
    await started({ allowedOrigins: [ORIGIN] });
    const opened = await initialize(['Origin', ORIGIN]);
    expect(opened.status).toBe(200);
    const unacceptable = await socket.exchange('GET', '/mcp', [
      ['Origin', ORIGIN],
      ['Accept', 'text/html'],
    ]);
    expectRow(unacceptable, 'notAcceptable');
    const refused = await socket.exchange('DELETE', '/mcp', [['Origin', ORIGIN]]);
    expectRow(refused, 'sessionRequired');
    for (const response of [opened, unacceptable, refused]) {
      expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
      expect(response.headers.get('vary')).toMatch(/origin/i);
      expect(exposed(response)).toMatch(/mcp-session-id/);
    }
  });

  test('an origin that is not allowed gets 403, preflight or not, and no CORS headers', async () => {
    await started({ allowedOrigins: ['https://other.example'] });
    for (const response of [
      await socket.exchange('OPTIONS', '/mcp', PREFLIGHT),
      await initialize(['Origin', ORIGIN]),
    ]) {
      expectRow(response, 'originNotAllowed');
      expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });

  test('OPTIONS that is no preflight gets 405', async () => {
    await started({ allowedOrigins: [ORIGIN] });
    expectRow(await socket.exchange('OPTIONS', '/mcp', [['Origin', ORIGIN]]), 'methodNotAllowed');
  });

  test('without allowedOrigins the own origin is answered, and needs no CORS headers', async () => {
    await started();
    const own = await initialize(['Host', '127.0.0.1:3000'], ['Origin', 'http://127.0.0.1:3000']);
    expect(own.status).toBe(200);
    expect(own.headers.has('access-control-allow-origin')).toBe(false);
    expectRow(await socket.exchange('OPTIONS', '/mcp', PREFLIGHT), 'originNotAllowed');
  });
});
