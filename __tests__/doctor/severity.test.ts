import { CHECKS, type Finding } from '../../src/doctor/examine.js';
import { Probe } from '../../src/doctor/probe.js';
import type { McpEndpointOptions } from '../../src/node.js';
import { memoryEventStore } from '../../src/stores/index.js';
import { visit } from '../support/examination.js';
import { serve, type Fault } from './faulty-endpoint.js';

const PAGE = 'https://app.example.com';
const CLAIM = 'io.modelcontextprotocol/protocolVersion';

/** Runs some checks on an endpoint with a fault, as for a web page, and returns what the last one found. */
async function last(ids: readonly string[], fault: Fault, options: Partial<McpEndpointOptions> = {}) {
  const endpoint = await serve(fault, { allowedOrigins: [PAGE], ...options });
  const { findings } = await visit(endpoint.url, { origin: PAGE }, ids);
  await endpoint.close();
  return findings.at(-1);
}

const allowing = (names: string): Fault => ({
  head: ({ headers }, { method }) => {
    if (method === 'OPTIONS') headers['access-control-allow-headers'] = names;
  },
});
const OK = { status: 'ok' };
const lacks = (name: string) => ({ status: 'problem', seen: `Access-Control-Allow-Headers lacks ${name}` });

describe('a preflight has to allow what a page of this endpoint sends (docs/doctor.md, "What counts as a problem")', () => {
  const BASIC = 'content-type, mcp-protocol-version';
  const PER_REQUEST = `${BASIC}, mcp-method`;
  const withoutTools: Fault['body'] = (body) => body.replace(/"(?:tools|prompts|resources)":/g, '"other":');
  const rows: [string, string, Fault, Partial<McpEndpointOptions>, object][] = [
    ['no session ID without sessions', 'preflight', allowing(BASIC), { stateless: true }, OK],
    ['the session ID with sessions', 'preflight', allowing(BASIC), {}, lacks('mcp-session-id')],
    ['no Last-Event-ID without event IDs', 'preflight', allowing(`${BASIC}, mcp-session-id`), {}, OK],
    [
      'Last-Event-ID with event IDs, which is a warning',
      'preflight',
      allowing(`${BASIC}, mcp-session-id`),
      { eventStore: memoryEventStore() },
      { ...lacks('last-event-id'), severity: 'warning' },
    ],
    ['no Mcp-Name without tools', 'preflight-per-request', { ...allowing(PER_REQUEST), body: withoutTools }, {}, OK],
    ['Mcp-Name with tools', 'preflight-per-request', allowing(PER_REQUEST), {}, lacks('mcp-name')],
  ];
  test.each(rows)('%s', async (_name, id, fault, options, found) => {
    expect(await last(['event-ids', id], fault, options)).toMatchObject({ id, ...found });
  });
});

describe('a session ID of the era before is no matter for a server of both eras (streamable-http, "Earlier revisions")', () => {
  const refuses: Fault = {
    answer: ({ headers, message }, res) => {
      const isMeant = headers['mcp-session-id'] !== undefined && message?.params?._meta?.[CLAIM] !== undefined;
      return isMeant && Boolean(res.writeHead(404).end());
    },
  };
  test.each<[boolean, Finding['severity']]>([
    [true, 'info'],
    [false, 'warning'],
  ])('with sessions: %p, it is %s', async (sessions, severity) => {
    expect(await last(['no-session-id'], refuses, sessions ? {} : { sessions })).toMatchObject({
      status: 'problem',
      severity,
    });
  });
});

test('over HTTPS a rebound name has no certificate, so nothing is checked (RFC 9110, 4.3.4)', async () => {
  const probe = new Probe({ url: new URL('https://127.0.0.1:1/mcp'), headers: {}, timeoutMs: 1_000, version: '0.0.0' });
  const check = CHECKS.find(({ id }) => id === 'dns-rebinding');
  expect(await check?.run(probe)).toMatchObject({ status: 'skipped' });
  expect(probe.client.requests).toBe(0);
});
