import { once } from 'node:events';
import type { ErrorName } from '../../src/errors.js';
import { initializeBody, JSON_HEADERS } from '../support/harness.js';
import type { RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';
import { ping, PLAIN, Target, waitCall, type Headers } from '../support/target.js';

const MAX_BODY_SIZE = 100_000;

/** What is wrong with a request, in the order in which the router looks at it (docs/http.md, "The order of the checks"). */
interface Fault {
  readonly gets: ErrorName;
  readonly method?: string;
  readonly headers?: Headers;
  readonly body?: unknown;
  readonly size?: number;
}

const FAULTS: readonly Fault[] = [
  { gets: 'hostNotAllowed', headers: { host: 'evil.example' } },
  { gets: 'originNotAllowed', headers: { origin: 'https://evil.example' } },
  { gets: 'methodNotAllowed', method: 'PUT' },
  { gets: 'unauthorized', headers: { 'x-user': '' } },
  { gets: 'notAcceptable', headers: { accept: 'text/html' } },
  { gets: 'unsupportedMediaType', headers: { 'content-type': 'text/plain' } },
  { gets: 'bodyTooLarge', size: 2 * MAX_BODY_SIZE },
  { gets: 'unsupportedMediaType', headers: { 'content-encoding': 'gzip' } },
  { gets: 'parseError', body: '[' },
  { gets: 'bodyTooDeep', body: `${'['.repeat(201)}1` },
  { gets: 'emptyBatch', body: [] },
  { gets: 'initializeInBatch', body: [initializeBody(1)] },
  { gets: 'invalidRequest', body: { id: 1 } },
  { gets: 'invalidInitialize', body: { jsonrpc: '2.0', id: 1, method: 'initialize', params: { capabilities: {} } } },
  { gets: 'sessionRequired', headers: { 'mcp-session-id': '' } },
  { gets: 'sessionNotFound', headers: { 'mcp-session-id': 'unknown' } },
  { gets: 'unsupportedProtocolVersion', headers: { 'mcp-protocol-version': '2026-07-28' } },
  { gets: 'batchNotAllowed', body: [ping('taken')] },
  { gets: 'requestIdInFlight', body: ping('taken') },
];

describe('the order of the checks (docs/http.md): of two faults in one request, the first is answered', () => {
  const target = new Target();
  let session: string;
  let taken: Promise<RawResponse>;
  beforeAll(async () => {
    await target.start(PLAIN, {
      maxBodySize: MAX_BODY_SIZE,
      principal: ({ headers }) => headers['x-user'] as string | undefined,
      requirePrincipal: true,
    });
    session = await target.open({ 'x-user': 'alice' });
    const runs = once(target.happened, 'waiting');
    taken = target.post(waitCall('taken'), { 'x-user': 'alice', 'mcp-session-id': session });
    await runs;
  });
  afterAll(async () => {
    target.happened.emit('release');
    expect(await taken).toMatchObject({ status: 200 });
    await target.close();
  });

  const pairs = FAULTS.flatMap((first, index) =>
    FAULTS.slice(index)
      // A request has one body; two faults of it cannot meet.
      .filter((second) => second === first || first.body === undefined || second.body === undefined)
      .map((second) => ({ first, second })),
  );
  test.each(pairs)('$first.gets before $second.gets', async ({ first, second }) => {
    const { method = 'POST', body = ping(1), size = 0 } = { ...second, ...first };
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const headers = {
      ...JSON_HEADERS,
      'x-user': 'alice',
      'mcp-session-id': session,
      ...second.headers,
      ...first.headers,
    };
    const response = await target.send(method, headers, text.padEnd(size));
    expectRow(response, first.gets);
  });
});
