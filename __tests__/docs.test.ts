import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Server as LowLevelServer } from '@modelcontextprotocol/sdk/server/index.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { CallToolRequestSchema, ErrorCode, ListToolsRequestSchema, McpError } from '@modelcontextprotocol/sdk/types.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { McpServer as McpServerV2, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server';
import express, { type Express } from 'express';
import request from 'supertest';
import { z } from 'zod';
import { mcpRouter, type McpRouter, type McpRouterOptions, type ServerFactory } from '../src/index.js';
import { OPTIONS, type OptionRow } from '../src/options/option-table.js';
import { resolvePerRequest, type ResolvedPerRequest } from '../src/options/resolve-per-request.js';
import { memoryStore } from '../src/stores/index.js';
import { fakeClock, testClient, type FakeClock } from '../src/testing/index.js';
import { v2 } from '../src/v2.js';
import { DOCUMENTS, readDocument as read, ROOT } from './support/documents.js';
import { echoServer, initializeBody, JSON_HEADERS, start, type Harness } from './support/harness.js';
import { toJavaScript } from './support/run-blocks.js';
import { until } from './support/waiting.js';

const optionsPage = read('docs/options.md');
const operations = read('docs/operations.md');
const testing = read('docs/testing.md');

/** The rows of the first table after a heading or marker, as cells. */
function tableAfter(text: string, marker: string): string[][] {
  const lines = text.slice(text.indexOf(marker)).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  const rows = lines.slice(first + 2);
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith('|')),
    )
    .map((row) =>
      row
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The fenced block after a marker, as JavaScript, without its imports. */
function codeAfter(text: string, marker: string): string {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(text.slice(text.indexOf(marker))) ?? [];
  return toJavaScript(code.replace(/^[ \t]*import [^;]*;/gm, ''));
}

/** A default as the page shows it. */
function shownDefault({ default: value, shownDefault }: OptionRow): string {
  if (shownDefault !== undefined) return shownDefault;
  if (value === undefined) return 'none';
  if (typeof value === 'number') return value.toLocaleString('en-US');
  return typeof value === 'boolean' ? `\`${value}\`` : `\`'${value as string}'\``;
}

describe('docs/options.md', () => {
  test('has the rows of the table in src/options/option-table.ts: name, default and meaning', () => {
    const rows = [...OPTIONS].map(([name, row]) => [
      `\`${name}\``,
      shownDefault(row),
      row.meaning.replaceAll('|', '\\|').replaceAll(/(?<=[[(])docs\//g, ''),
    ]);
    expect(tableAfter(optionsPage, '<!-- options -->')).toEqual(rows);
  });

  test('names the options that a stateless router refuses', () => {
    const names = [...OPTIONS].filter(([, { sessionsOnly }]) => sessionsOnly).map(([name]) => name);
    const [, stated = ''] = /With `stateless: true`, these are refused[^:]*: ([^.]*)\./.exec(optionsPage) ?? [];
    expect([...stated.matchAll(/`(\w+)`/g)].map(([, name]) => name)).toEqual(names);
  });
});

test('the metrics table of docs/operations.md names every metric that the router registers, and no other', async () => {
  const app = express().get('/metrics', mcpRouter({ serverFactory: echoServer, logger: false }).metrics);
  const { text } = await request(app).get('/metrics').expect(200);
  const registered = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  const stated = tableAfter(operations, '## Metrics').flatMap(([names = '']) =>
    [...names.matchAll(/`([a-z_]+)/g)].map(([, name]) => name),
  );
  expect(stated.sort()).toEqual(registered.sort());
});

describe('the private metrics of docs/operations.md', () => {
  test('are served by the second app, and not at the mount', async () => {
    const code = codeAfter(operations, '<!-- private metrics -->').replace(
      /internal\.listen\(.*\);/,
      'return internal;',
    );
    const app = express();
    const quiet = (options: McpRouterOptions) => mcpRouter({ ...options, logger: false });
    // eslint-disable-next-line @typescript-eslint/no-implied-eval
    const internal = new Function('express', 'mcpRouter', 'app', 'serverFactory', code)(
      express,
      quiet,
      app,
      echoServer,
    ) as Express;
    await request(app).delete('/mcp').expect(400);
    await request(app).get('/mcp/metrics').expect(404);
    await request(internal)
      .get('/metrics')
      .expect(200)
      .expect(/mcp_sessions_active 0/);
  });
});

describe('the test with supertest of docs/testing.md', () => {
  const app = express().use('/mcp', mcpRouter({ serverFactory: echoServer, logger: false }));
  const code = codeAfter(testing, '<!-- test: supertest -->');
  expect(code).toContain('test(');
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  new Function('request', 'app', 'test', code)(request, app, test);
});

describe('the test with testClient of docs/testing.md', () => {
  const serverFactory = () => {
    const server = echoServer();
    server.registerTool('add', { inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => ({
      content: [{ type: 'text', text: String(a + b) }],
    }));
    return server;
  };
  const app = express().use('/mcp', mcpRouter({ serverFactory, logger: false }));
  const code = codeAfter(testing, '<!-- test: testClient -->');
  expect(code).toContain('test(');
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  new Function('testClient', 'app', 'test', 'expect', code)(testClient, app, test, expect);
});

test("docs/testing.md's clock: a session expires at the turns that the page names", async () => {
  const code = codeAfter(testing, '<!-- test: clock -->');
  const [setUp = '', turns = ''] = code.split(/^\/\/ A client opens a session.*\n/m);
  const quiet = (options: McpRouterOptions) => mcpRouter({ ...options, logger: false });
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  const { mcp, clock, run } = new Function(
    'mcpRouter',
    'fakeClock',
    'serverFactory',
    `${setUp}; return { mcp, clock, run: () => { ${turns} } };`,
  )(quiet, fakeClock, echoServer) as { mcp: McpRouter; clock: FakeClock; run: () => void };
  const app = express().use('/mcp', mcp);
  await request(app).post('/mcp').set(JSON_HEADERS).send(initializeBody()).expect(200);
  await until('the reply is over', () => {
    clock.advance(1);
    return (mcp.sessions.list()[0]?.idleMs ?? 0) > 0;
  });
  const ended: string[] = [];
  mcp.sessions.on('orphaned', () => ended.push('orphaned')).on('closed', (_, reason) => ended.push(reason));
  run();
  expect(turns.match(/advance\(/g)).toHaveLength(2);
  await until('the session has closed', () => ended.length === 2);
  expect(ended).toEqual(['orphaned', 'expired']);
  await mcp.close();
});

describe("docs/performance.md's factories", () => {
  test.each([
    ['## A cheap `serverFactory`', 'buildServer'],
    ['### Cheaper still', 'buildLowLevelServer'],
  ])(
    '%s: runs as it stands, lists its tool and calls it, and says what is wrong with an input',
    async (marker, name) => {
      const code = codeAfter(read('docs/performance.md'), marker).replace(/^export /gm, '');
      const schemas = { CallToolRequestSchema, ListToolsRequestSchema };
      const known = { McpServer, Server: LowLevelServer, AjvJsonSchemaValidator, z, ...schemas, McpError, ErrorCode };
      // eslint-disable-next-line @typescript-eslint/no-implied-eval
      const build = new Function(...Object.keys(known), `${code}; return ${name};`)(
        ...Object.values(known),
      ) as () => McpServer;
      const harness = await start({ serverFactory: build });
      const client = await harness.client();
      expect((await client.listTools()).tools).toMatchObject([
        { name: 'echo', inputSchema: { properties: { text: { type: 'string' } }, required: ['text'] } },
      ]);
      const call = (args: object) => client.callTool({ name: 'echo', arguments: { ...args } });
      expect(await call({ text: 'as given' })).toMatchObject({ content: [{ type: 'text', text: 'as given' }] });
      expect(await call({ text: 1 })).toMatchObject({
        isError: true,
        content: [{ text: expect.stringMatching(/string/) }],
      });
      await harness.close();
    },
  );
});

describe('docs/two-eras.md', () => {
  const page = read('docs/two-eras.md');

  test('has the defaults of all options of `perRequest`', () => {
    const { sdk, cacheHints, ...defaults } = resolvePerRequest(true) as ResolvedPerRequest;
    expect([sdk, cacheHints.size]).toEqual([undefined, 0]);
    const shares = new Map([
      ['maxSuspendedAnonymous', '`maxSuspended`'],
      ['maxSubscriptionsAnonymous', '`maxSubscriptions`'],
    ]);
    const expected = Object.entries(defaults).map(([name, value]) => [
      `\`${name}\``,
      shares.get(name) ?? (typeof value === 'number' ? value.toLocaleString('en-US') : `\`'${value}'\``),
    ]);
    const rows = tableAfter(page, '<!-- perRequest options -->').map(([name, value]) => [name, value]);
    expect(rows).toEqual([['`sdk`', 'none'], ...expected, ['`cacheHints`', 'none: 0, `private`']]);
  });

  /** The factory of the page's last step, over those of the steps before it. */
  function chosen(): ServerFactory {
    const code = [codeAfter(page, '<!-- test: state -->'), codeAfter(page, '<!-- test: move -->')].join('\n');
    const supportedProtocolVersions = ['2026-07-28', ...SUPPORTED_PROTOCOL_VERSIONS];
    const ignored = { app: { use: () => undefined }, mcpRouter: () => undefined };
    const known = { McpServer, McpServerV2, supportedProtocolVersions, v2, z, ...ignored };
    // eslint-disable-next-line @typescript-eslint/no-implied-eval
    return new Function(...Object.keys(known), `${code}; return chosen;`)(...Object.values(known)) as ServerFactory;
  }

  async function callOnce(harness: Harness, mode: 'legacy' | 'auto', name: string, args: Record<string, unknown> = {}) {
    const client = new ClientV2({ name: 'docs', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(new TransportV2(harness.url, { requestInit: { headers: { 'x-user': 'alice' } } }));
    const { content } = await client.callTool({ name, arguments: args });
    await client.close();
    return content;
  }

  test('serves clients of both eras from one factory, one with each version of the SDK', async () => {
    const harness = await start({ serverFactory: chosen(), perRequest: { sdk: v2() } });
    expect(await callOnce(harness, 'legacy', 'count')).toMatchObject([{ text: '1' }]);
    expect(await callOnce(harness, 'auto', 'echo', { text: 'as given' })).toMatchObject([{ text: 'as given' }]);
    await harness.close();
  });

  test('counts by principal from one request to the next, and says what is missing without one', async () => {
    const code = codeAfter(page, '<!-- test: state -->');
    // eslint-disable-next-line @typescript-eslint/no-implied-eval
    const serverFactory = new Function('McpServer', `${code}; return buildV1;`)(McpServer) as ServerFactory;
    const options = { serverFactory, perRequest: true, store: memoryStore() };
    const known = await start({ ...options, principal: (req) => req.headers['x-user'] as string | undefined });
    expect(await callOnce(known, 'auto', 'count')).toMatchObject([{ text: '1' }]);
    expect(await callOnce(known, 'auto', 'count')).toMatchObject([{ text: '2' }]);
    await known.close();
    const unknown = await start(options);
    expect(await callOnce(unknown, 'auto', 'count')).toMatchObject([{ text: expect.stringMatching(/^Sign in first/) }]);
    await unknown.close();
  });
});

test('every link between the documents leads to a file that is there', () => {
  const broken = DOCUMENTS.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, link = '']) => link)
      .filter((link) => !existsSync(join(ROOT, dirname(document), link)))
      .map((link) => `${document}: ${link}`),
  );
  expect(broken).toEqual([]);
});

test('every document is a page of the site', () => {
  const groups = JSON.parse(read('site/sidebar.json')) as { pages: string[] }[];
  const pages = groups.flatMap((group) => group.pages);
  expect(DOCUMENTS.filter((document) => !pages.includes(document))).toEqual([]);
});
