import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Body } from '../../src/doctor/body.js';
import { main } from '../../src/doctor/cli.js';
import { EventParser } from '../../src/protocol/event-parser.js';
import type { Examination } from '../../src/doctor/examine.js';
import { HttpClient, NoAnswer, TooLarge } from '../../src/doctor/http-client.js';
import type { ProbeOptions } from '../../src/doctor/probe.js';
import { plain, textReport } from '../../src/doctor/report.js';
import { visit } from '../support/examination.js';
import { serve, type Call, type Endpoint, type Fault } from './faulty-endpoint.js';

const SPEC = 'https://modelcontextprotocol.io/specification/2025-11-25/basic/transports';
const URL_OF_ALL = new URL('http://127.0.0.1:1/mcp');

let endpoint: Endpoint | undefined;
afterEach(async () => {
  await endpoint?.close();
  endpoint = undefined;
});

/** Serves the replies of a function, and nothing of MCP. */
async function serveAny(answer: (req: IncomingMessage, res: ServerResponse) => void): Promise<URL> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  endpoint = { url, close };
  return url;
}

/** Runs some checks on an endpoint with a fault. */
async function check(ids: readonly string[], fault: Fault = {}, options: Partial<ProbeOptions> = {}) {
  endpoint = await serve(fault);
  return visit(endpoint.url, options, ids);
}

const outcomeOf = ({ findings }: Examination, name: string) => findings.find(({ id }) => id === name);
const isMethod = (method: string, { message }: Call) => message?.method === method;
const sendJson = (res: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) => {
  res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  return true;
};

describe('a body costs no more than its size (docs/doctor.md, "What it does to the server")', () => {
  test('an event of half a million lines is read at once', () => {
    const body = new Body(true);
    const start = performance.now();
    body.add(Buffer.from(`${'data:x\n'.repeat(500_000)}\n`));
    expect(body.events).toHaveLength(1);
    // It took more than a minute when each line copied the ones before it.
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test('no more than 10,000 events, and no more than 4 MiB, are taken', () => {
    const [many, long] = [new Body(true), new Body(false)];
    many.add(Buffer.from('data:{}\n\n'.repeat(50_000)));
    long.add(Buffer.alloc(4 * 1024 * 1024 + 1, ' '));
    expect([many.isFull, long.isFull, many.events.length]).toEqual([true, true, 10_000]);
  });

  test('all replies together have 32 MiB at most', async () => {
    const url = await serveAny((_req, res) => res.end(Buffer.alloc(4 * 1024 * 1024)));
    const client = new HttpClient(url, {}, 20_000);
    const fill = async () => {
      for (let i = 0; i < 10; i++) await (await client.send({ method: 'GET', headers: {} })).read(20_000);
    };
    await expect(fill()).rejects.toThrow(TooLarge);
    expect(client.requests).toBe(9);
  });

  test('a page full of beginnings of stack traces is judged at once', async () => {
    const page = '\nat /'.repeat(200_000).replaceAll('\n', '');
    const answer: Fault['answer'] = ({ message }, res) =>
      message === undefined && Boolean(res.writeHead(400).end(page));
    const start = performance.now();
    const examination = await check(['malformed-json', 'stack-traces'], { answer });
    expect(outcomeOf(examination, 'stack-traces')?.status).toBe('ok');
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe('events (HTML, 9.2.6)', () => {
  test.each([1, 2, 3, 7])('are the same when they come in pieces of %d characters', (size) => {
    const text = '\uFEFFid: 1\r\nevent: ping\r\ndata: a\r\ndata: b\r\n\r\ndata: c\n\nid: 2\r\rdata: left';
    const parser = new EventParser();
    const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
      text.slice(i * size, (i + 1) * size),
    );
    expect(pieces.flatMap((piece) => parser.push(piece))).toEqual([
      { type: 'ping', id: '1', data: 'a\nb' },
      { type: 'message', data: 'c' },
      { type: 'message', id: '2', data: '' },
    ]);
  });

  test('a named event is no message, and one that is no JSON does not hide the others', () => {
    const body = new Body(true);
    body.add(Buffer.from('event: ping\nid: 7\ndata: 12:30\n\ndata: {"id":1}\n\n'));
    expect([body.messages, body.hasOther, body.events[0]?.id]).toEqual([[{ id: 1 }], false, '7']);
    body.add(Buffer.from('data: oops\n\ndata: {"id":2}\n\n'));
    expect([body.messages, body.hasOther]).toEqual([[{ id: 1 }, { id: 2 }], true]);
  });
});

describe('what an endpoint writes has no power over the terminal (CWE-150)', () => {
  test('controls are shown as escapes, and long texts are cut', async () => {
    const message = `\u001b]0;owned\u0007\u009b2J\u202e${'x'.repeat(1_000)}`;
    const examination = await check(['ping'], {
      answer: (call, res) => isMethod('ping', call) && sendJson(res, 200, { error: { message } }),
      body: (body) => body.replace(/("serverInfo":\{"name":)"[^"]*"/, '$1"a\\u001b[2Jb"'),
    });
    const report = textReport(examination, plain);
    expect(report).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    expect(report).toContain('a\\u{1b}[2Jb');
    const found = outcomeOf(examination, 'ping');
    expect(found?.status === 'problem' && found.seen.length).toBe(301);
  });
});

describe('the session of each reply is ended, and counted if that fails (docs/doctor.md)', () => {
  test('also of a refused request', async () => {
    const ended: unknown[] = [];
    const examination = await check([], {
      answer: (call, res) => {
        if (call.method === 'DELETE') ended.push(call.headers['mcp-session-id']);
        const isStray =
          call.method === 'DELETE' ? call.headers['mcp-session-id'] === 'stray' : isMethod('server/discover', call);
        return isStray && sendJson(res, 400, { error: { code: 1 } }, { 'mcp-session-id': 'stray' });
      },
    });
    expect([ended[0], examination.sessionsLeft]).toEqual(['stray', 1]);
  });

  test('also of one with a version that is no value of a header', async () => {
    const versions: unknown[] = [];
    const examination = await check(['initialize'], {
      request: (call) => call.method === 'DELETE' && versions.push(call.headers['mcp-protocol-version']),
      body: (body, call) =>
        isMethod('initialize', call) ? body.replace(/("protocolVersion":"[^"]*)"/, '$1\\n"') : body,
    });
    expect(outcomeOf(examination, 'initialize')?.status).toBe('problem');
    expect(versions.length).toBeGreaterThan(0);
    expect(new Set(versions)).toEqual(new Set(['2025-11-25']));
    expect(examination).toMatchObject({ sessionsLeft: 0 });
    expect(examination).not.toHaveProperty('stopped');
  });

  test('the doctor has two sessions at a time, so an endpoint may allow few of them', async () => {
    let open = 0;
    let most = 0;
    const examination = await check(
      ['version-negotiation', 'first-revision', 'session-id-random', 'delete', 'ended-session'],
      {
        request: (call) => {
          if (isMethod('initialize', call)) most = Math.max(most, ++open);
          if (call.method === 'DELETE') open--;
        },
      },
    );
    expect(examination.findings.map(({ status }) => status)).toEqual(Array(5).fill('ok'));
    expect(most).toBe(2);
  });

  test('an endpoint that opens no second session is not accused', async () => {
    let opened = 0;
    const examination = await check(['session-id-random', 'delete', 'ended-session'], {
      answer: (call, res) => isMethod('initialize', call) && opened++ > 0 && sendJson(res, 503, {}),
    });
    expect(examination.findings.map(({ status }) => status)).toEqual(['skipped', 'skipped', 'skipped']);
  });
});

describe('what was found stays, whatever comes after it', () => {
  test('a limit of the rate while a second stream is awaited', async () => {
    let gets = 0;
    const ping = `data: ${JSON.stringify({ jsonrpc: '2.0', id: 'a', method: 'ping' })}\n\n`;
    const examination = await check(
      ['ping', 'get', 'second-get'],
      {
        answer: ({ method, message }, res) => {
          if (message !== undefined && 'result' in message) return sendJson(res, 429, {});
          if (method !== 'GET' || gets++ === 0) return false;
          if (gets === 2) res.writeHead(200, { 'content-type': 'text/event-stream' }).write(ping);
          return true;
        },
      },
      { timeoutMs: 5_000 },
    );
    expect(examination).toMatchObject({ stopped: expect.stringContaining('429') });
    expect(examination.findings.map(({ id }) => id)).toEqual(['ping', 'get']);
  });

  test('a URL of metadata that is none of HTTP is a fault of the endpoint (RFC 9728, 5.1)', async () => {
    const challenge = { 'www-authenticate': 'Bearer resource_metadata="ftp://127.0.0.1/metadata"' };
    const examination = await check(['resource-metadata'], {
      answer: (_call, res) => sendJson(res, 401, {}, challenge),
    });
    expect(outcomeOf(examination, 'resource-metadata')?.status).toBe('problem');
  });

  test('a request that Node cannot send is one without an answer', async () => {
    const client = new HttpClient(URL_OF_ALL, {}, 1_000);
    await expect(client.send({ method: 'GET', headers: { 'x-name': 'a\nb' } })).rejects.toThrow(NoAnswer);
  });

  test('a tool may have any name (MCP 2026-07-28, "Value Encoding")', async () => {
    const names: unknown[] = [];
    const examination = await check(
      ['call'],
      {
        answer: (call, res) => isMethod('initialize', call) && sendJson(res, 400, {}),
        request: (call) => names.push(call.headers['mcp-name']),
      },
      { tool: '日本' },
    );
    expect(names.at(-1)).toBe(`=?base64?${Buffer.from('日本').toString('base64')}?=`);
    expect(examination).not.toHaveProperty('stopped');
  });

  test('a tool is not called where no era is served', async () => {
    const examination = await check(['call'], { answer: (_call, res) => sendJson(res, 404, {}) }, { tool: 'echo' });
    expect(outcomeOf(examination, 'call')?.status).toBe('skipped');
  });

  test(`silence on notifications/initialized is no silence on initialize (${SPEC}#sending-messages-to-the-server)`, async () => {
    let silent = 0;
    const examination = await check(
      ['initialize', 'notification'],
      { answer: (call) => isMethod('notifications/initialized', call) && silent++ === 0 },
      { timeoutMs: 2_000 },
    );
    expect(examination.findings).toMatchObject([
      { id: 'initialize', status: 'ok' },
      { id: 'notification', status: 'problem', seen: 'notifications/initialized got no answer' },
    ]);
  });
});

test('each POST has a Content-Length, one in two parts too (RFC 9110, 8.6)', async () => {
  const heads: unknown[] = [];
  const examination = await check(['utf-8'], {
    request: ({ method, headers, body }) => {
      if (method === 'POST')
        heads.push([headers['transfer-encoding'], Number(headers['content-length']) === body.length]);
    },
  });
  expect(outcomeOf(examination, 'utf-8')?.status).toBe('ok');
  expect(new Set(heads.map((head) => JSON.stringify(head)))).toEqual(new Set(['[null,true]']));
});

test('a reply of another URL is no reply of the endpoint, nor is its 429 (docs/doctor.md)', async () => {
  const url = await serveAny((_req, res) => res.writeHead(429).end());
  const client = new HttpClient(URL_OF_ALL, {}, 20_000);
  await expect(client.send({ method: 'GET', headers: {}, url })).resolves.toMatchObject({ status: 429 });
  expect([client.replies, client.remoteAddress, client.requests]).toEqual([[], undefined, 1]);
});

describe('secrets of the command line are not printed (docs/doctor.md)', () => {
  async function run(...args: string[]) {
    let printed = '';
    const out = (text: string) => (printed += text);
    const io = { version: '0.0.0', hasColours: false, signal: new AbortController().signal, out, err: out };
    return { code: await main(args, io), printed };
  }

  test.each([[[]], [['--json']]])('those of headers and of the URL %j', async (flags) => {
    const seen: unknown[] = [];
    const url = await serveAny((req, res) => {
      seen.push(req.headers.authorization);
      res
        .writeHead(404)
        .end(`no ${req.url ?? ''} for ${req.headers.authorization ?? ''} ${String(req.headers['x-api-key'])}`);
    });
    const typed = `http://user:password-1@${url.host}/mcp?key=query-secret`;
    const { printed } = await run('doctor', typed, '--header', 'X-Api-Key: header-secret', ...flags);
    expect(seen).toContain(`Basic ${Buffer.from('user:password-1').toString('base64')}`);
    expect(printed).toContain('***');
    expect(printed).not.toMatch(/password-1|query-secret|header-secret|dXNlcjpwYXNz/);
  });

  test.each([[['--header', 'Authorization Bearer my-token']], [['--header', 'X-Name: \u0007my-token']]])(
    'a header that was mistyped: %j',
    async (flags) => {
      const { code, printed } = await run('doctor', URL_OF_ALL.href, ...flags);
      expect(code).toBe(3);
      expect(printed).not.toContain('my-token');
    },
  );
});
