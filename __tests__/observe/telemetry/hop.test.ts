import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { openTelemetry } from '../../../src/otel.js';
import { AnyNodeSession } from '../../cluster/any-node.js';
import { InProcessCluster, type InProcessNode, type Tool } from '../../cluster/in-process.js';
import { EventStream } from '../../support/event-stream.js';
import { ForkedProgram } from '../../support/forked-program.js';
import { bodyOf, call as callPerRequest, headersOf } from '../../support/per-request.js';
import { bundle } from '../../support/program.js';
import { post } from '../../support/harness.js';
import { soon, until } from '../../support/waiting.js';
import { Recorder, type Told } from './recorder.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
/** Those of the client: its own for the call, and that of its HTTP request below. */
const CALL = '00f067aa0ba902b7';
const REQUEST = '00f067aa0ba902b8';
const named = (span: string): string => `00-${TRACE}-${span}-01`;

const cluster = InProcessCluster.ofSuite();
const anything = z.object({}).loose();

const callOf = (name: string, meta: object) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: {}, _meta: meta },
});

describe('nodes whose HTTP is not traced', () => {
  let recorder: Recorder;
  let a: InProcessNode;
  let b: InProcessNode;

  const work: Tool = () => recorder.within('the app works', () => ({}));
  const ask: Tool = async ({ extra }) => {
    await extra.sendRequest({ method: 'roots/list' }, anything);
    return {};
  };

  beforeEach(async () => {
    recorder = new Recorder();
    const telemetry = openTelemetry({ sessionId: 'full' });
    [a, b] = (await cluster.nodes(2, { telemetry, tools: { work, ask }, perRequest: true })) as [
      InProcessNode,
      InProcessNode,
    ];
  });
  afterEach(async () => {
    await cluster.clear();
    await recorder.stop();
  });

  /** Has a node serve each request in a span, as the instrumentation of HTTP would. */
  function traceHttp({ http }: InProcessNode, name: string): void {
    const [serve] = http.listeners('request') as ((...exchange: unknown[]) => void)[];
    http.removeAllListeners('request');
    http.on('request', (...exchange) => recorder.within(name, () => serve!(...exchange)));
  }

  test("a forwarded request has one span, on the owner, below the client's own", async () => {
    const session = await AnyNodeSession.open(a.url);
    let port = 0;
    b.http.prependListener('request', ({ socket }: IncomingMessage) => (port = socket.remotePort ?? 0));
    await (await session.post(b.url, callOf('work', { traceparent: named(CALL) }))).text();
    const span = recorder.span('tools/call work');
    expect(span).toMatchObject({ trace: TRACE, parent: CALL, kind: 'SERVER' });
    expect(span.attributes).toMatchObject({ 'mcp.session.id': session.id, 'client.port': port });
    expect(recorder.span('the app works').parent).toBe(span.id);
  });

  test('its context is that of the forwarding node where the message names none', async () => {
    const session = await AnyNodeSession.open(a.url);
    traceHttp(b, 'HTTP on b');
    await (await session.post(b.url, callOf('work', {}))).text();
    const http = recorder.span('HTTP on b');
    expect(recorder.span('tools/call work')).toMatchObject({ trace: http.trace, parent: http.id, links: [] });
  });

  test('it is linked to the request of the forwarding node', async () => {
    const session = await AnyNodeSession.open(a.url);
    traceHttp(b, 'HTTP on b');
    await (await session.post(b.url, callOf('work', { traceparent: named(CALL) }))).text();
    const http = recorder.span('HTTP on b');
    expect(recorder.span('tools/call work')).toMatchObject({ parent: CALL, links: [http.id] });
  });

  test('a request whose owner refuses it has one span', async () => {
    const session = await AnyNodeSession.open(a.url);
    const response = await session.post(b.url, callOf('work', {}), { 'mcp-protocol-version': '1999-01-01' });
    expect(response.status).toBe(400);
    expect(recorder.span('tools/call work').attributes).toMatchObject({ 'error.type': '-32000' });
  });

  test('a retry of MCP 2026-07-28 that another node answers has its span there', async () => {
    const capabilities = { roots: {} };
    const { result } = await callPerRequest(a.url, 'ask', {}, { capabilities });
    const { inputRequests, requestState } = result as { inputRequests: object; requestState: string };
    const inputResponses = Object.fromEntries(Object.keys(inputRequests).map((key) => [key, { roots: [] }]));
    recorder.forget();
    traceHttp(b, 'HTTP on b');
    const request = { capabilities, params: { name: 'ask', arguments: {}, requestState, inputResponses } };
    const response = await post(b.url, bodyOf('tools/call', request), headersOf('tools/call', request));
    expect(await response.text()).toContain('complete');
    const http = recorder.span('HTTP on b');
    expect(recorder.span('tools/call ask')).toMatchObject({ trace: http.trace, parent: http.id });
    expect(recorder.has('roots/list')).toBe(true);
  });
});

describe('nodes whose HTTP and Express are traced', () => {
  let program: ForkedProgram;
  let a: URL;
  let b: URL;

  beforeAll(async () => {
    const env = {
      ...process.env,
      NODE_OPTIONS: `--require ${process.cwd()}/${bundle('__tests__/observe/telemetry/traced-process.ts', { format: 'cjs' })}`,
    };
    const nodes = bundle('__tests__/observe/telemetry/traced-nodes.ts', { format: 'cjs' });
    const started = await ForkedProgram.start(nodes, [cluster.redis.url], env);
    program = started[0];
    [a, b] = (started[1] as [string, string]).map((url) => new URL(url)) as [URL, URL];
  }, 300_000);
  afterAll(() => program.kill());

  async function spans(): Promise<Told[]> {
    const told = once(program.child, 'message');
    program.child.send('spans');
    return (await soon('the spans', told))[0] as Told[];
  }

  /** The spans from one to the root, by name. */
  function chain(all: readonly Told[], from: Told): Told[] {
    const parent = all.find(({ id }) => id === from.parent);
    return parent === undefined ? [from] : [from, ...chain(all, parent)];
  }

  test.each([
    ["below the client's own span", { traceparent: named(CALL) }],
    ['below the HTTP requests where the message names none', {}],
  ])('a call through another node is one trace to the question of its handler: %s', async (_what, meta) => {
    const session = await AnyNodeSession.open(a, { capabilities: { roots: {} } });
    const before = (await spans()).length;
    const reply = await session.post(b, callOf('work', meta), { traceparent: named(REQUEST) });
    const stream = new EventStream(reply);
    const asked = await stream.message();
    await session.post(b, { jsonrpc: '2.0', id: asked.id, result: { roots: [] } });
    await stream.message();
    const hasEnded = async () => (await spans()).slice(before).some(({ parent }) => parent === REQUEST);
    await until('the request of the client has ended', hasEnded);

    const all = (await spans()).slice(before);
    const question = all.find(({ name }) => name === 'roots/list')!;
    expect(asked.params._meta).toMatchObject({ traceparent: named(question.id) });
    const [, own, served, ...http] = chain(all, question);
    expect([own!.name, own!.kind]).toEqual(['the app works', 'INTERNAL']);
    expect([served!.name, served!.kind, served!.trace]).toEqual(['tools/call work', 'SERVER', TRACE]);
    expect(all.filter(({ name }) => name === 'tools/call work')).toHaveLength(1);

    const around = all.find(({ id }) => id === (served!.links[0] ?? served!.parent))!;
    const hops = chain(all, around).filter(({ kind }) => kind !== 'INTERNAL');
    // The listener of the owner, the request of the forwarding node to it, and the client's request to that node.
    expect(hops.map(({ kind }) => kind)).toEqual(['SERVER', 'CLIENT', 'SERVER']);
    expect(hops.at(-1)).toMatchObject({ trace: TRACE, parent: REQUEST });
    if ('traceparent' in meta) expect([served!.parent, http]).toEqual([CALL, []]);
    else expect(served!.parent).toBe(around.id);
  });
});
