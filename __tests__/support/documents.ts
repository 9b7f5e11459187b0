import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { blocksOf, examplesOf, type Page } from './code-blocks.js';

/** The root of the repository. */
export const ROOT = resolve(__dirname, '../..');
export const readDocument = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** The documents, by their paths from the root. */
export const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'example-app/README.md',
  'examples/README.md',
  'deploy/README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
];

/** Each document with its blocks of code. */
export const PAGES = DOCUMENTS.map((name): Page => ({ name, blocks: blocksOf(readDocument(name)) }));

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
  import * as otel from 'express-mcp-router/otel';
  import * as redisStores from 'express-mcp-router/redis';
  import * as stores from 'express-mcp-router/stores';
  import * as testing from 'express-mcp-router/testing';

  const { bearerPrincipal, createHttpServer, createHttpsServer, HttpError, mcpErrorHandler, mcpRouter, principalOf, stop, trustedProxyPrincipal } = main;
  const { createMcpEndpoint } = node;
  const { openTelemetry } = otel;
  const { redisEventStore, redisStore } = redisStores;
  const { keyvStore, memoryEventStore, memoryStore } = stores;
  const { fakeClock, parseReply, sessionStoreContract, testClient } = testing;

  declare const app: Express, mcp: main.McpRouter, serverFactory: main.ServerFactory;
  declare const client: ReturnType<typeof createClient>, redis: Redis, url: string, verifier: OAuthTokenVerifier;
  declare const adapter: KeyvStoreAdapter, myStore: stores.SessionStore;
  declare function buildServer(principal?: string): main.McpServerLike;
  declare function audit(principal: string | undefined, reason: main.CloseReason): void;
`;

/** Each example in a comment of the sources, after the names that it may use. */
export const EXAMPLES = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .flatMap((name) => examplesOf(`src/${name}`, readDocument(`src/${name}`), GIVEN_TO_EXAMPLES));
