import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { blocksOf, examplesOf, GIVEN, topLevelNames, typeCheck, type Page } from './support/code-blocks.js';

const root = resolve(__dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'example-app/README.md',
  ...readdirSync(join(root, 'docs')).map((file) => `docs/${file}`),
];
const pages = documents.map((name): Page => ({ name, blocks: blocksOf(read(name)) }));

/** The names that an example in a comment may use: exports of the package, and names of the reader's own app. */
const GIVEN_TO_EXAMPLES = `
  import { readFileSync } from 'node:fs';
  import { createServer } from 'node:http';
  import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
  import type { OAuthTokenVerifier } from '@modelcontextprotocol/sdk/server/auth/provider.js';
  import express, { type Express } from 'express';
  import type { Redis } from 'ioredis';
  import { Keyv, type KeyvStoreAdapter } from 'keyv';
  import { createClient } from 'redis';
  import * as main from 'express-mcp-router';
  import * as node from 'express-mcp-router/node';
  import * as redisStores from 'express-mcp-router/redis';
  import * as stores from 'express-mcp-router/stores';
  import * as testing from 'express-mcp-router/testing';

  const { bearerPrincipal, createHttpServer, createHttpsServer, HttpError, mcpErrorHandler, mcpRouter, principalOf, stop, trustedProxyPrincipal } = main;
  const { createMcpEndpoint } = node;
  const { redisEventStore, redisStore } = redisStores;
  const { keyvStore, memoryEventStore, memoryStore } = stores;
  const { fakeClock, parseReply, sessionStoreContract, testClient } = testing;

  declare const app: Express, mcp: main.McpRouter, serverFactory: main.ServerFactory;
  declare const client: ReturnType<typeof createClient>, redis: Redis, url: string, verifier: OAuthTokenVerifier;
  declare const adapter: KeyvStoreAdapter, myStore: stores.SessionStore;
  declare function buildServer(principal?: string): main.McpServerLike;
  declare function audit(principal: string | undefined, reason: main.CloseReason): void;
`;
const examples = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .flatMap((name) => examplesOf(`src/${name}`, read(`src/${name}`), GIVEN_TO_EXAMPLES));

/** A page with faults that the check must find. */
const faulty = (name: string, text: string): Page => ({ name: `docs/${name}.md`, blocks: blocksOf(text) });
const late = "```ts\nimport { z as late } from 'zod';\n```\n";
const FAULTY = {
  list: 'text\n\n```ts\nconst one: number = 1;\n```\n\n- in a list:\n\n  ```ts\n  const two: string = one;\n  ```\n',
  early: `\`\`\`ts\nlate;\n\`\`\`\n${late}\`\`\`ts\nlate;\n\`\`\`\n`,
  strict: '```ts\nconst secret: string = process.env.SECRET;\n```\n',
  exact: '```ts\nconst given: { name?: string } = { name: undefined };\n```\n',
};
const probes = Object.entries(FAULTY).map(([name, text]) => faulty(name, text));

let faults: string[];
beforeAll(() => {
  faults = typeCheck(root, [...pages, ...examples, ...probes]);
});
const faultsOf = (name: string) => faults.filter((fault) => fault.startsWith(`docs/${name}.md:`));

test('each TypeScript block of the documentation, and each example in a comment, compiles with `strict` and `exactOptionalPropertyTypes`', () => {
  const count = (of: Page[]) => of.flatMap(({ blocks }) => blocks.filter(({ language }) => language === 'ts')).length;
  expect(count(pages)).toBeGreaterThan(15);
  expect(count(examples)).toBeGreaterThan(5);
  const expected = Object.keys(FAULTY).flatMap(faultsOf);
  expect(faults.filter((fault) => !expected.includes(fault))).toEqual([]);
});

describe('the check of code blocks', () => {
  test('names the line of a fault, in a list too', () => {
    expect(faultsOf('list')).toEqual(["docs/list.md:10: Type 'number' is not assignable to type 'string'."]);
  });

  test('gives a block the names of the blocks before it, and of no later one', () => {
    expect(faultsOf('early')).toEqual(["docs/early.md:2: Cannot find name 'late'."]);
  });

  test.each(['strict', 'exact'])('finds what only `%s` refuses', (name) => {
    expect(faultsOf(name)).toEqual([expect.stringMatching(/:2: Type .* is not assignable/)]);
  });
});

test.each(pages)('$name: each block has a language, and code is written as `ts`, which is checked', ({ blocks }) => {
  const known = ['ts', 'sh', 'yaml', 'json', 'text', GIVEN];
  expect(blocks.map(({ language }) => language).filter((language) => !known.includes(language))).toEqual([]);
});

test.each(pages)(
  "$name: a name that its blocks are given is one of the reader's app, and the text explains it",
  (page) => {
    const prose = read(page.name).replace(/^[ \t]*(```|<!-- given)[\s\S]*?^[ \t]*(```|-->)/gm, '');
    for (const { code } of page.blocks.filter(({ language }) => language === GIVEN)) {
      expect(code).not.toMatch(/^\s*import (?!type )/m);
      const declared = topLevelNames(code.replace(/^\s*import [^;]*;$/gm, ''));
      expect(declared.filter((name) => !prose.includes(`\`${name}\``))).toEqual([]);
    }
  },
);
