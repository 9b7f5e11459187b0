import type { ServerResponse } from 'node:http';
import { CHECKS, examine } from '../../src/doctor/examine.js';
import type { ProbeOptions } from '../../src/doctor/probe.js';
import type { McpEndpointOptions } from '../../src/node.js';
import { serve, type Call, type Fault } from './faulty-endpoint.js';

interface Row extends Fault {
  /** The check that finds the fault. */
  readonly finds: string;
  /** Checks that run before it, as it looks at what they saw. */
  readonly after?: readonly string[];
  readonly options?: Partial<ProbeOptions>;
  readonly endpoint?: Partial<McpEndpointOptions>;
}

const PAGE = 'https://app.example.com';
const CLAIM = 'io.modelcontextprotocol/protocolVersion';

/** For a fault that is found by silence. An endpoint that answers takes a small part of it. */
const PATIENCE = { timeoutMs: 2_000 };

const send = (res: ServerResponse, status: number, body: unknown = '', headers: Record<string, string> = {}) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
  return true;
};
const isMethod =
  (method: string) =>
  ({ message }: Call) =>
    message?.method === method;
const isPing = isMethod('ping');
const claimOf = ({ message }: Call): string | undefined => message?.params?._meta?.[CLAIM];
const isLater = (call: Call) => claimOf(call) !== undefined;
/** Answers requests of one kind by a status. */
const refuse =
  (isMeant: (call: Call) => boolean, status: number, headers = {}) =>
  (call: Call, res: ServerResponse): boolean =>
    isMeant(call) && send(res, status, { jsonrpc: '2.0', error: { code: -32000, message: 'no' }, id: null }, headers);
const status =
  (from: number, to: number, isMeant: (call: Call) => boolean = () => true): NonNullable<Fault['head']> =>
  (head, call) => {
    if (head.status === from && isMeant(call)) head.status = to;
  };
const replace =
  (from: string | RegExp, to: string): NonNullable<Fault['body']> =>
  (body) =>
    body.replace(from, to);
const ofPage = { options: { origin: PAGE }, endpoint: { allowedOrigins: [PAGE] } };
const laterOnly = { endpoint: { sessions: false } };

/** Standalone streams of one endpoint that are open. */
function streams() {
  const open = new Set<ServerResponse>();
  return {
    open,
    begin: (res: ServerResponse) => {
      open.add(res);
      res.on('close', () => open.delete(res));
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      return true;
    },
  };
}

/** One fault for each check, or two. Each row makes its endpoint anew. */
const FAULTS: readonly (() => Row)[] = [
  () => ({ finds: 'initialize', body: replace('"serverInfo"', '"info"') }),
  () => ({ finds: 'initialize', answer: (_call, res) => send(res, 404, 'Cannot POST /mcp') }),
  () => ({
    finds: 'version-negotiation',
    body: (body, { message }) => body.replace(/("protocolVersion":)"[^"]*"/, `$1"${message?.params?.protocolVersion}"`),
  }),
  () => ({ finds: 'notification', head: status(202, 200) }),
  () => ({ finds: 'ping', answer: refuse(isPing, 200) }),
  () => ({
    finds: 'first-revision',
    answer: refuse((call) => isPing(call) && call.headers['mcp-protocol-version'] === undefined, 400),
  }),
  () => ({
    finds: 'challenge',
    options: { headers: { authorization: 'Bearer token' } },
    answer: refuse(({ headers }) => headers.authorization === undefined, 401),
  }),
  () => ({ finds: 'resource-metadata', answer: refuse(() => true, 401, { 'www-authenticate': 'Bearer' }) }),
  () => ({
    finds: 'session-id-characters',
    head: ({ headers }) => {
      if ('mcp-session-id' in headers) headers['mcp-session-id'] = 'session 1';
    },
  }),
  () => {
    let opened = 1_000;
    return {
      finds: 'session-id-random',
      head: ({ headers }, call) => {
        if (isMethod('initialize')(call)) headers['mcp-session-id'] = `session-${opened++}`;
      },
    };
  },
  () => ({ finds: 'missing-session-id', head: status(400, 500, isPing) }),
  () => ({ finds: 'unknown-session', head: status(404, 400) }),
  () => ({ finds: 'delete', answer: refuse(({ method }) => method === 'DELETE', 404) }),
  () => ({ finds: 'ended-session', answer: ({ method }, res) => method === 'DELETE' && send(res, 200) }),
  () => ({ finds: 'get', answer: refuse(({ method }) => method === 'GET', 404) }),
  () => ({ finds: 'get', options: PATIENCE, answer: ({ method }) => method === 'GET' }),
  () => {
    let opened = 0;
    const isLaterGet = ({ method }: Call) => method === 'GET' && opened++ > 0;
    return { finds: 'reconnect', after: ['get'], options: PATIENCE, answer: refuse(isLaterGet, 409) };
  },
  () => {
    const { open, begin } = streams();
    return {
      finds: 'second-get',
      after: ['get'],
      answer: ({ method }, res) => method === 'GET' && (open.size > 0 ? send(res, 500) : begin(res)),
    };
  },
  () => {
    const { open, begin } = streams();
    return {
      finds: 'answer-on-its-own-reply',
      after: ['get'],
      answer: (call, res) => {
        if (call.method === 'GET') return begin(res);
        const [stream] = open;
        if (stream === undefined || !isPing(call)) return false;
        stream.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id: call.message?.id, result: {} })}\n\n`);
        return send(res, 202);
      },
    };
  },
  () => {
    const { open, begin } = streams();
    return {
      finds: 'stalled-reader',
      after: ['get'],
      options: PATIENCE,
      answer: (call, res) => (call.method === 'GET' ? begin(res) : isPing(call) && open.size > 0),
    };
  },
  () => ({
    finds: 'last-event-id',
    after: ['get'],
    answer: refuse(({ headers }) => headers['last-event-id'] !== undefined, 500),
  }),
  () => ({
    finds: 'event-ids',
    answer: (call, res) => {
      const event = `id: 1\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: call.message?.id, result: {} })}\n\n`;
      return isPing(call) && send(res, 200, event, { 'content-type': 'text/event-stream' });
    },
  }),
  () => ({
    finds: 'stream-end',
    answer: (call, res) => {
      if (!isPing(call)) return false;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id: call.message?.id, result: {} })}\n\n`);
      return true;
    },
  }),
  () => ({ finds: 'discover', body: replace('"complete"', '"done"') }),
  () => ({ finds: 'server-info', body: replace('/serverInfo"', '/server"') }),
  () => ({ finds: 'cache-hints', body: replace('"ttlMs":0', '"ttlMs":-1') }),
  () => ({
    finds: 'version-mismatch',
    request: (call) => {
      if (isLater(call)) call.headers['mcp-protocol-version'] = claimOf(call);
    },
  }),
  () => ({
    finds: 'missing-mcp-method',
    request: (call) => {
      if (isLater(call)) call.headers['mcp-method'] ??= call.message?.method;
    },
  }),
  () => ({
    finds: 'mcp-method',
    request: (call) => {
      if (isLater(call)) call.headers['mcp-method'] = call.message?.method;
    },
  }),
  () => ({
    finds: 'mcp-name',
    request: (call) => {
      if (isMethod('tools/call')(call)) call.headers['mcp-name'] = call.message?.params?.name;
    },
  }),
  () => ({ finds: 'unsupported-version', body: replace('"supported"', '"known"') }),
  () => ({ finds: 'unsupported-version', head: status(400, 200) }),
  () => ({ finds: 'missing-capabilities', head: status(400, 200) }),
  () => ({ finds: 'method-not-found', head: status(404, 200) }),
  () => ({
    finds: 'no-session-id',
    answer: refuse((call) => isLater(call) && call.headers['mcp-session-id'] !== undefined, 404),
  }),
  () => ({ finds: 'get-and-delete', ...laterOnly, answer: refuse(({ method }) => method === 'GET', 404) }),
  () => ({ finds: 'get-and-delete', ...laterOnly, answer: refuse(({ method }) => method === 'DELETE', 404) }),
  () => ({
    finds: 'initialize-refused',
    ...laterOnly,
    answer: refuse(isMethod('initialize'), 400),
  }),
  () => ({
    finds: 'first-event',
    options: PATIENCE,
    answer: (call, res) => isMethod('subscriptions/listen')(call) && streams().begin(res),
  }),
  () => ({
    finds: 'subscription',
    answer: (call, res) => {
      if (!isMethod('subscriptions/listen')(call)) return false;
      streams().begin(res);
      res.write('data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n');
      return true;
    },
  }),
  () => ({ finds: 'buffering-header', head: ({ headers }) => delete headers['x-accel-buffering'] }),
  () => ({
    finds: 'compression',
    head: (head, { headers }) => {
      if (headers['accept-encoding'] !== undefined) head.headers['content-encoding'] = 'gzip';
    },
  }),
  () => ({ finds: 'call', options: { tool: 'echo' }, answer: refuse(isMethod('tools/call'), 500) }),
  () => ({ finds: 'foreign-origin', request: ({ headers }) => delete headers.origin }),
  () => ({
    finds: 'dns-rebinding',
    request: ({ headers }) => {
      headers.host = 'localhost';
      delete headers.origin;
    },
  }),
  () => ({
    finds: 'no-preflight',
    request: ({ headers }) => {
      headers['content-type'] = 'application/json';
      delete headers.origin;
    },
  }),
  () => ({ finds: 'preflight', ...ofPage, answer: refuse(({ method }) => method === 'OPTIONS', 401) }),
  () => ({
    finds: 'preflight-delete',
    ...ofPage,
    head: ({ headers }) => (headers['access-control-allow-methods'] = 'GET, POST'),
  }),
  () => ({
    finds: 'preflight-per-request',
    ...ofPage,
    head: ({ headers }) =>
      (headers['access-control-allow-headers'] = 'content-type, mcp-protocol-version, mcp-session-id'),
  }),
  () => ({ finds: 'readable', ...ofPage, head: ({ headers }) => delete headers['access-control-expose-headers'] }),
  () => ({ finds: 'readable', ...ofPage, head: ({ headers }) => delete headers['access-control-allow-origin'] }),
  () => ({
    finds: 'readable-errors',
    ...ofPage,
    head: ({ status: code, headers }) => {
      if (code >= 400) delete headers['access-control-allow-origin'];
    },
  }),
  () => ({ finds: 'vary', ...ofPage, head: ({ headers }) => delete headers.vary }),
  () => ({ finds: 'request-id', body: replace('"id":"7"', '"id":7') }),
  () => ({ finds: 'utf-8', request: (call) => (call.body = Buffer.from(call.chunks.map(String).join(''))) }),
  () => ({
    finds: 'unknown-method',
    answer: (call, res) =>
      isMethod('doctor/unknown')(call) && send(res, 200, { jsonrpc: '2.0', id: call.message?.id, result: {} }),
  }),
  () => ({ finds: 'version-header', request: ({ headers }) => delete headers['mcp-protocol-version'] }),
  () => ({ finds: 'malformed-json', head: status(400, 500) }),
  () => ({
    finds: 'malformed-message',
    answer: ({ message }, res) => message !== undefined && 'hello' in message && send(res, 202),
  }),
  () => ({ finds: 'accept', head: status(406, 500) }),
  () => ({ finds: 'http-method', answer: ({ method }, res) => method === 'PUT' && send(res, 200) }),
  () => ({ finds: 'allow', after: ['http-method'], head: ({ headers }) => delete headers.allow }),
  () => ({ finds: 'large-body', answer: refuse(({ body }) => body.length > 100_000, 413) }),
  () => ({ finds: 'json-rpc', after: ['ping'], body: replace('"jsonrpc":"2.0",', '') }),
  () => ({
    finds: 'html-errors',
    after: ['malformed-json'],
    answer: ({ message }, res) =>
      message === undefined && send(res, 400, '<h1>Bad Request</h1>', { 'content-type': 'text/html; charset=utf-8' }),
  }),
  () => ({
    finds: 'stack-traces',
    after: ['malformed-json'],
    answer: ({ message }, res) =>
      message === undefined && send(res, 400, 'SyntaxError<br> at parse (/app/node_modules/body-parser/x.js:92:19)'),
  }),
];

test.each(FAULTS.map((make) => make()).map((row) => [row.finds, row] as const))(
  'the fault of an endpoint is found by the check %s (docs/doctor.md)',
  async (id, { after = [], options, endpoint, ...fault }) => {
    const faulty = await serve(fault, endpoint);
    const checks = CHECKS.filter((check) => check.id === id || after.includes(check.id));
    const all = { url: faulty.url, headers: {}, timeoutMs: 20_000, version: '0.0.0', ...options };
    const { findings } = await examine(all, undefined, checks);
    await faulty.close();
    expect(findings.at(-1)).toMatchObject({ id, status: 'problem' });
  },
);

test('each check has a fault that it finds', () => {
  expect(new Set(FAULTS.map((make) => make().finds))).toEqual(new Set(CHECKS.map(({ id }) => id)));
});
