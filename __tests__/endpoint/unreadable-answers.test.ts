import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  UrlElicitationRequiredError,
} from '@modelcontextprotocol/sdk/types.js';
import { pino } from 'pino';
import { start, type Harness } from '../support/harness.js';
import { send } from '../support/per-request.js';

// A server that fails on a request answers it with an Internal error (JSON-RPC 2.0, "Error object"). What a handler returns or
// throws may itself throw when it is read. Without a handler of the rejection, Node ends the process
// (https://nodejs.org/api/process.html#event-unhandledrejection).

const INTERNAL = { code: -32603, message: 'Internal error' };
const capabilities = { elicitation: { url: {}, form: {} } };

const urlOf = (more: object): Error => {
  const elicitation = { mode: 'url' as const, message: 'Sign in', url: 'https://example.com/', elicitationId: 'e' };
  return new UrlElicitationRequiredError([Object.assign(elicitation, more)]);
};

function unreadableServer(): Server {
  const server = new Server({ name: 'unreadable', version: '1.0.0' }, { capabilities: { tools: {}, resources: {} } });
  const circular: { self?: object } = {};
  circular.self = circular;
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: [] }));
  server.setRequestHandler(ReadResourceRequestSchema, async ({ params: { uri } }) => {
    if (uri === 'test://circular') throw urlOf({ circular });
    if (uri === 'test://bigint') throw urlOf({ large: 1n });
    if (uri === 'test://question') {
      const lazy = {
        'express-mcp-router/input-key': 'mine',
        get lazy() {
          throw new Error('lazy');
        },
      };
      const params = { message: 'x', requestedSchema: { type: 'object' as const, properties: {} } };
      await server.elicitInput({ ...params, _meta: lazy });
    }
    if (uri !== 'test://getter') return { contents: [] };
    return {
      contents: [],
      get lazy() {
        throw new Error('lazy');
      },
    };
  });
  return server;
}

const failures: string[] = [];
let harness: Harness;
beforeAll(async () => {
  const logger = pino({ level: 'error' }, { write: (line: string) => void failures.push(line) });
  harness = await start({ serverFactory: unreadableServer, perRequest: true, logger });
});
afterAll(() => harness.close());

test.each(['test://getter', 'test://circular', 'test://bigint', 'test://question'])(
  'what a handler made of %s cannot be read: its client gets an Internal error, and the router goes on',
  async (uri) => {
    const before = failures.length;
    const { error } = await send(harness.url, 'resources/read', { params: { uri }, capabilities });
    expect(error).toMatchObject(INTERNAL);
    expect(failures.length).toBeGreaterThan(before);
    expect((await send(harness.url, 'resources/read', { params: { uri: 'test://x' } })).result).toMatchObject({
      contents: [],
    });
  },
);
