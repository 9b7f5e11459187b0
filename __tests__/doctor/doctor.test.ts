import { randomUUID } from 'node:crypto';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import { McpServer as McpServerV2 } from '@modelcontextprotocol/server';
import express, { type Express } from 'express';
import { z } from 'zod';
import { main, USAGE } from '../../src/doctor/cli.js';
import { CHECKS, examine, type Examination } from '../../src/doctor/examine.js';
import { exitCodeOf } from '../../src/doctor/report.js';
import { mcpErrorHandler, type McpRouter, type McpRouterOptions } from '../../src/index.js';
import { memoryEventStore } from '../../src/stores/index.js';
import { v2 } from '../../src/v2.js';
import { problemsOf, visit } from '../support/examination.js';
import { readDocument } from '../support/documents.js';
import { freePort } from '../support/free-port.js';
import { echoServer, start, type Harness } from '../support/harness.js';
import { until } from '../support/waiting.js';
import { serve } from './faulty-endpoint.js';

const PAGE = 'https://app.example.com';

let harness: Harness | undefined;
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

const skippedBy = ({ findings }: Examination): string[] =>
  findings.flatMap(({ status, id }) => (status === 'skipped' ? [id] : []));

function serverV2(): McpServerV2 {
  const server = new McpServerV2({ name: 'second', version: '1.0.0' });
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({
    content: [{ type: 'text', text }],
  }));
  return server;
}

describe('an endpoint of this package has no problem (docs/doctor.md)', () => {
  const ofPages = { allowedOrigins: [PAGE] };
  const variants: [string, Partial<McpRouterOptions>, string[]][] = [
    ['sessions alone, with event IDs', { ...ofPages, eventStore: memoryEventStore() }, ['discover', 'first-event']],
    ['both eras', { ...ofPages, perRequest: true }, ['event-ids', 'get-and-delete']],
    ['JSON replies', { ...ofPages, perRequest: true, enableJsonResponse: true }, ['stream-end']],
    ['no sessions', { ...ofPages, stateless: true }, ['unknown-session', 'ended-session', 'reconnect']],
    [
      'MCP 2026-07-28 alone',
      { ...ofPages, perRequest: true, sessions: false },
      ['initialize', 'ping', 'unknown-session'],
    ],
    ['servers of SDK v2', { ...ofPages, serverFactory: serverV2, perRequest: { sdk: v2() } }, ['event-ids']],
  ];
  test.each(variants)('%s', async (_name, options, skips) => {
    harness = await start(options);
    const examination = await visit(harness.url, { origin: PAGE });
    expect(problemsOf(examination)).toEqual({});
    expect(skippedBy(examination)).toEqual(expect.arrayContaining(skips));
    expect([exitCodeOf(examination), examination.sessionsLeft]).toEqual([0, 0]);
    expect(harness.router.sessions.list()).toEqual([]);
  });

  test('with a body parser of Express before it and its error handler after it', async () => {
    const mount = (app: Express, router: McpRouter) =>
      app.use('/mcp', express.json({ limit: '1mb' }), router, mcpErrorHandler());
    harness = await start({}, mount);
    expect(problemsOf(await visit(harness.url))).toEqual({});
  });

  test('without Express, behind a hop on node:http, and with a tool that is called', async () => {
    const endpoint = await serve();
    const examination = await visit(endpoint.url, { tool: 'echo' });
    await endpoint.close();
    expect(problemsOf(examination)).toEqual({});
    expect(skippedBy(examination)).not.toContain('call');
  });

  test('with authentication, whether or not a token is given', async () => {
    const verifyAccessToken = async (token: string) => {
      if (token !== 'good') throw new Error('unknown');
      return { token, clientId: 'doctor', scopes: [], expiresAt: Date.now() / 1_000 + 3_600 };
    };
    const port = await freePort();
    const metadata = `http://127.0.0.1:${port}/metadata`;
    const mount = (app: Express, router: McpRouter) => {
      const authenticate = requireBearerAuth({ verifier: { verifyAccessToken }, resourceMetadataUrl: metadata });
      app.use('/mcp', router.preflight, authenticate, router);
    };
    harness = await start({ allowedOrigins: [PAGE], perRequest: true }, mount);
    const documents = express()
      .get('/metadata', (_req, res) => res.json({ resource: 'x', authorization_servers: ['https://idp.example'] }))
      .listen(port, '127.0.0.1');
    const signedIn = await visit(harness.url, { origin: PAGE, headers: { authorization: 'Bearer good' } });
    const anonymous = await visit(harness.url);
    documents.closeAllConnections();
    documents.close();
    expect(problemsOf(signedIn)).toEqual({});
    expect(skippedBy(signedIn)).not.toContain('resource-metadata');
    expect(problemsOf(anonymous)).toEqual({});
    expect([exitCodeOf(signedIn), exitCodeOf(anonymous)]).toEqual([0, 3]);
  });
});

/** The wiring of the SDK's example (src/examples/server/simpleStreamableHttp.ts of version 1). */
function sdkExample(app: Express): void {
  const transports = new Map<string, StreamableHTTPServerTransport>();
  app.use('/sdk', express.json(), async (req, res) => {
    const id = req.headers['mcp-session-id'];
    let transport = typeof id === 'string' ? transports.get(id) : undefined;
    if (transport === undefined && req.method === 'POST' && id === undefined && isInitializeRequest(req.body)) {
      const opened = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (name) => void transports.set(name, opened),
      });
      opened.onclose = () => transports.delete(opened.sessionId ?? '');
      await echoServer().connect(opened);
      transport = opened;
    }
    if (transport !== undefined) return transport.handleRequest(req, res, req.body);
    res.status(400).json({ jsonrpc: '2.0', error: { code: -32000, message: 'No valid session ID' }, id: null });
  });
}

test("the known faults of the SDK's example are found, and nothing else (docs/why.md)", async () => {
  harness = await start({}, sdkExample);
  const examination = await visit(new URL('/sdk', harness.url));
  expect(Object.keys(problemsOf(examination))).toEqual([
    'unknown-session',
    'ended-session',
    'foreign-origin',
    'dns-rebinding',
    'large-body',
    'html-errors',
    'stack-traces',
  ]);
});

describe('the command line (docs/doctor.md)', () => {
  async function run(...args: string[]) {
    const printed = { out: '', err: '' };
    const code = await main(args, {
      version: '0.0.0',
      hasColours: false,
      signal: new AbortController().signal,
      out: (text) => (printed.out += text),
      err: (text) => (printed.err += text),
    });
    return { code, ...printed };
  }

  test('prints a row for each check and ends with 0 when nothing is wrong', async () => {
    harness = await start();
    const { code, out } = await run('doctor', harness.url.href, '--header', 'X-Api-Key: 7');
    expect(code).toBe(0);
    expect(out).toMatch(/^ok +initialize /m);
    expect(out).toMatch(/^skipped +vary .*\(no --origin was given\)$/m);
    expect(out).toMatch(/\d+ ok, 0 errors, 0 warnings/);
  });

  test('says what was seen, how to mend it and where the rule stands, and ends with 1 or 2 by the severity', async () => {
    const warned = await serve({ head: (head) => (head.status === 404 ? (head.status = 400) : head) });
    const { code, out } = await run('doctor', warned.url.href);
    expect(code).toBe(2);
    expect(out).toContain('seen    POST was answered with 400 application/json');
    expect(out).toContain(
      'source  https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management',
    );
    await warned.close();
  });

  test('--json prints the same as JSON', async () => {
    harness = await start();
    const { code, out } = await run('doctor', harness.url.href, '--json');
    const ping = { id: 'ping', status: 'ok', severity: 'error' };
    const findings = expect.arrayContaining([expect.objectContaining(ping)]);
    expect([code, JSON.parse(out)]).toMatchObject([
      0,
      { exitCode: 0, url: harness.url.href, sessionsLeft: 0, findings },
    ]);
  });

  test.each([
    [[], 'Unknown command'],
    [['doctor'], 'Give one URL'],
    [['doctor', 'ftp://example.com'], 'Not a URL'],
    [['doctor', 'http://127.0.0.1', '--header', 'none'], 'Not a header'],
    [['doctor', 'http://127.0.0.1', '--timeout', '-1'], '--timeout'],
    [['doctor', 'http://127.0.0.1', '--colour'], '--colour'],
  ])('%j ends with 3 and says why', async (args, text) => {
    const { code, err } = await run(...args);
    expect([code, err]).toEqual([3, expect.stringContaining(text)]);
  });

  test('an endpoint that cannot be reached ends with 3', async () => {
    const { code, err } = await run('doctor', `http://127.0.0.1:${await freePort()}/mcp`);
    expect([code, err]).toEqual([3, expect.stringContaining('cannot be reached')]);
  });
});

test('a limit of the rate stops it: what follows would say nothing of the endpoint (docs/doctor.md)', async () => {
  let requests = 0;
  const limited = await serve({ answer: (_call, res) => requests++ > 10 && Boolean(res.writeHead(429).end()) });
  const examination = await visit(limited.url);
  await limited.close();
  expect(examination).toMatchObject({ stopped: expect.stringContaining('429') });
  expect([problemsOf(examination), exitCodeOf(examination)]).toEqual([{}, 3]);
});

test('SIGINT stops it after the check that runs, and the sessions are ended (docs/doctor.md)', async () => {
  const { router, url } = (harness = await start());
  const interruption = new AbortController();
  const examination = examine({ url, headers: {}, timeoutMs: 20_000, version: '0.0.0' }, interruption.signal);
  await until('it has a session', () => router.sessions.list().length > 0);
  interruption.abort();
  const { findings, stopped } = await examination;
  expect([stopped, findings.length < CHECKS.length]).toEqual(['interrupted', true]);
  expect(router.sessions.list()).toEqual([]);
});

test('docs/doctor.md lists the checks as the table of the code has them, and the options as --help does', () => {
  const page = readDocument('docs/doctor.md');
  const [, listed = ''] = page.split('<!-- checks -->');
  const cells = (line: string) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());
  const rows = listed
    .split('\n')
    .filter((line) => line.startsWith('| [`'))
    .map(cells);
  expect(rows).toEqual(
    CHECKS.map(({ id, source, title, severity, mend }) => [`[\`${id}\`](${source})`, title, severity, mend]),
  );
  const options = (text: string) => [...text.matchAll(/^(?:\| `| {2})(--[a-z]+)/gm)].map(([, name]) => name);
  expect([...options(page), '--help']).toEqual(options(USAGE));
});

// Fetch, "CORS check": a response to a request of the same origin is always readable.
test('a page of the origin of the endpoint is examined for no CORS header', async () => {
  const harness = await start();
  const ids = ['preflight', 'readable', 'readable-errors'];
  const { findings } = await visit(harness.url, { origin: harness.url.origin }, ids);
  const reason = 'a page of the origin of the endpoint needs no CORS';
  expect(findings.map(({ id, ...found }) => [id, found])).toEqual(
    ids.map((id) => [id, expect.objectContaining({ status: 'skipped', reason })]),
  );
  await harness.close();
});
