import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import fc from 'fast-check';
import { pino } from 'pino';
import { principalOf, type McpRouterOptions, type PrincipalRef } from '../../src/index.js';
import { openSession, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { runs } from '../support/runs.js';

const ISS = 'https://idp.example';
const auth = (clientId: string, extra?: Record<string, unknown>): AuthInfo => ({
  token: 'secret',
  clientId,
  scopes: [],
  ...(extra && { extra }),
});

let harness: Harness;
afterEach(() => harness.close());

/** An app whose middleware treats the header `x-auth`, encoded JSON, as a verified token. */
async function startWithAuth(options: Partial<McpRouterOptions> = {}): Promise<LogLines> {
  const log = new LogLines();
  harness = await start({ logger: pino({ level: 'warn' }, log), ...options }, (app, router) => {
    app.use((req, _res, next) => {
      const given = req.get('x-auth');
      if (given !== undefined) Object.assign(req, { auth: JSON.parse(decodeURIComponent(given)) as AuthInfo });
      next();
    });
    app.use('/mcp', router);
  });
  return log;
}

const open = (as: AuthInfo): Promise<string> =>
  openSession(harness.url, { 'x-auth': encodeURIComponent(JSON.stringify(as)) });
const close = (principal: PrincipalRef): Promise<number> => harness.router.sessions.closeByPrincipal(principal);

describe('closeByPrincipal under the default principal (docs/sessions.md, "Watching and ending sessions")', () => {
  test.each<[string, PrincipalRef]>([
    ['its claims', { iss: ISS, sub: 'alice' }],
    ['its claims in another order', { sub: 'alice', iss: ISS }],
    ['its AuthInfo, though that has a clientId, too', auth('agent', { iss: ISS, sub: 'alice' })],
    ['the name that principalOf derives', principalOf(auth('other', { iss: ISS, sub: 'alice' }))!],
  ])('ends the sessions of a user, and no others, when it gets %s', async (_, alice) => {
    const log = await startWithAuth();
    await open(auth('agent', { iss: ISS, sub: 'alice' }));
    await open(auth('other', { iss: ISS, sub: 'alice' }));
    const others = [
      await open(auth('agent', { iss: ISS, sub: 'bob' })),
      await open(auth('agent', { iss: 'https://other.example', sub: 'alice' })),
      await open(auth('agent', { sub: 'alice' })),
    ];
    expect(await close(alice)).toBe(2);
    expect(harness.router.sessions.list().map(({ id }) => id)).toEqual(others);
    expect(await close(alice)).toBe(0);
    expect(log.all).toEqual([]);
  });

  test.each<[string, PrincipalRef]>([
    ['its clientId', { clientId: 'agent' }],
    ['its AuthInfo', auth('agent')],
  ])('ends the sessions of a client without sub when it gets %s', async (_, agent) => {
    await startWithAuth();
    await open(auth('agent'));
    await open(auth('agent', { sub: 'alice' }));
    expect(await close(agent)).toBe(1);
    expect(await close({ sub: 'alice' })).toBe(1);
  });

  test('a name that no principal can have ends nothing, and the log says why', async () => {
    const log = await startWithAuth();
    await open(auth('agent', { iss: ISS, sub: 'alice' }));
    for (const name of ['alice', '{}', '{"sub":""}', '{"sub":1}', '{"sub":"a","iss":"b"}', 'null', '']) {
      expect([name, await close(name)]).toEqual([name, 0]);
      expect(log.all.at(-1)?.msg).toContain(`no principal can be named ${JSON.stringify(name)}`);
    }
    expect(log.all.at(-1)?.msg).toContain('{ iss, sub }');
  });

  test.each([{}, { sub: '' }, { iss: ISS, sub: 7 }, { clientId: '' }, { extra: {} }, null, undefined, 7])(
    'claims that name no party are refused: %j',
    async (claims) => {
      await startWithAuth();
      await expect(close(claims as unknown as PrincipalRef)).rejects.toThrow(/must be a string|a principal is/);
    },
  );
});

test("with the option principal, closeByPrincipal takes the app's own name, and refuses claims", async () => {
  const log = await startWithAuth({ principal: (req) => req.get('x-user') });
  await openSession(harness.url, { 'x-user': 'alice' });
  await expect(close({ iss: ISS, sub: 'alice' })).rejects.toThrow(/option principal names/);
  expect(await close('alice')).toBe(1);
  expect(log.all).toEqual([]);
});

test('closeByPrincipal treats claims and the name that principalOf makes of them alike (property)', async () => {
  const log = await startWithAuth();
  const text = fc.string({ minLength: 1, unit: 'binary' });
  await fc.assert(
    fc.asyncProperty(fc.option(text, { nil: undefined }), text, async (iss, sub) => {
      await open(auth('agent', { iss, sub }));
      const name = principalOf(auth('agent', { iss, sub }));
      expect(harness.router.sessions.list().map(({ principal }) => principal)).toEqual([name]);
      expect(await close({ iss, sub })).toBe(1);
    }),
    { numRuns: runs(20) },
  );
  expect(log.all).toEqual([]);
});

test('principalOf returns undefined for an AuthInfo without sub and clientId', async () => {
  await startWithAuth();
  expect(principalOf(auth(''))).toBeUndefined();
  expect(principalOf(auth('', { iss: ISS }))).toBeUndefined();
  expect(() => principalOf(auth('agent', { sub: 7 }))).toThrow('req.auth.extra.sub must be a string');
});
