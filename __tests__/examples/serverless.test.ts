import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { JSON_HEADERS } from '../support/harness.js';
import { bodyOf, headersOf, type PerRequest } from '../support/per-request.js';

// examples/serverless, invoked as AWS Lambda does it. The event is that of the page "Create AWS Lambda proxy integrations for HTTP APIs"
// of the API Gateway developer guide, payload format 2.0. Function URLs send the same.

interface Reply {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

type Handler = (event: object, context: object) => Promise<Reply>;

const HOST = 'r3pmxmplak.execute-api.us-east-2.amazonaws.com';

function eventOf(method: string, headers: Record<string, string>, body?: string, isBase64Encoded = false): object {
  const sent = isBase64Encoded && body !== undefined ? Buffer.from(body).toString('base64') : body;
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: '/mcp',
    rawQueryString: '',
    headers: { ...headers, host: HOST, 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https' },
    requestContext: {
      accountId: '123456789012',
      apiId: 'r3pmxmplak',
      domainName: HOST,
      domainPrefix: 'r3pmxmplak',
      http: { method, path: '/mcp', protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'test' },
      requestId: 'JKJaXmPLvHcESHA=',
      routeKey: '$default',
      stage: '$default',
      time: '10/Mar/2026:05:16:23 +0000',
      timeEpoch: 1_773_119_783_000,
    },
    ...(sent !== undefined && { body: sent }),
    isBase64Encoded,
  };
}

/** A new instance of the function, as Lambda makes one for each of several concurrent requests. */
async function instance(): Promise<Handler> {
  let handler: Handler | undefined;
  await jest.isolateModulesAsync(async () => {
    ({ handler } = (await import('../../examples/serverless/handler.js')) as { handler: Handler });
  });
  return handler!;
}

/** What an API Gateway in front of instances does with the requests of a client: each goes to the next one. */
function gateway(...instances: Handler[]): typeof fetch {
  let count = 0;
  return async (_url, { method = 'GET', headers, body } = {}) => {
    const event = eventOf(method, Object.fromEntries(new Headers(headers)), body as string | undefined);
    const { statusCode, headers: sent, body: text } = await instances[count++ % instances.length]!(event, {});
    return new Response([202, 204].includes(statusCode) ? null : text, { status: statusCode, headers: sent });
  };
}

async function invoke(handler: Handler, method: string, request: PerRequest = {}, isBase64Encoded = false) {
  const headers = { ...JSON_HEADERS, ...headersOf(method, request) };
  const event = eventOf('POST', headers, JSON.stringify(bodyOf(method, request)), isBase64Encoded);
  const { statusCode, headers: sent, body } = await handler(event, {});
  expect(sent['content-type']).toContain('application/json');
  return { status: statusCode, ...(JSON.parse(body) as { result?: object; error?: object }) };
}

const URL_OF_API = new URL(`https://${HOST}/mcp`);
const add = { name: 'add', arguments: { a: 1, b: 2 } };

let first: Handler;
let second: Handler;
beforeAll(async () => {
  process.env.LOG_LEVEL = 'silent';
  [first, second] = [await instance(), await instance()];
});

test('discovery and a call need no request before them (MCP 2026-07-28, basic/versioning; docs/recipes.md)', async () => {
  expect(await invoke(first, 'tools/call', { params: add })).toMatchObject({
    status: 200,
    result: { content: [{ type: 'text', text: '3' }] },
  });
  expect(await invoke(second, 'server/discover', {}, true)).toMatchObject({
    status: 200,
    result: { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } },
  });
  expect(await invoke(first, 'no/method')).toMatchObject({ status: 404, error: { code: -32601 } });
});

test('a question is answered to another instance than the one that asked it (basic/patterns/mrtr)', async () => {
  const client = new ClientV2(
    { name: 'test', version: '1.0.0' },
    { capabilities: { elicitation: {} }, versionNegotiation: { mode: 'auto' } },
  );
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
  await client.connect(new TransportV2(URL_OF_API, { fetch: gateway(first, second) }));
  expect(await client.callTool({ name: 'greet' })).toMatchObject({ content: [{ text: 'Hello, Ada' }] });
  await client.close();
});

test('a client of 2025-11-25 calls a tool on any instance, and cannot be asked (docs/recipes.md)', async () => {
  const client = new Client({ name: 'test', version: '1.0.0' }, { capabilities: { elicitation: {} } });
  await client.connect(new StreamableHTTPClientTransport(URL_OF_API, { fetch: gateway(first, second) }));
  expect(await client.callTool(add)).toMatchObject({ content: [{ type: 'text', text: '3' }] });
  expect(await client.callTool({ name: 'greet' })).toMatchObject({ isError: true });
  await client.close();
});

test('nothing outlives an invocation: no stream by GET, and a subscription ends at once (docs/recipes.md)', async () => {
  const { statusCode, headers } = await first(eventOf('GET', { accept: 'text/event-stream' }), {});
  expect([statusCode, headers.allow]).toEqual([405, 'POST']);
  const listen = { params: { notifications: { toolsListChanged: true } } };
  const asked = { ...JSON_HEADERS, ...headersOf('subscriptions/listen', listen) };
  const { body } = await first(eventOf('POST', asked, JSON.stringify(bodyOf('subscriptions/listen', listen))), {});
  expect(body).toContain('"result"');
});
