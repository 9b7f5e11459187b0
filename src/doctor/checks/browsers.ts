import {
  ANY_ERA,
  expect,
  LOCAL,
  OK,
  ORIGIN,
  PER_REQUEST,
  problem,
  SESSION_ERA,
  SESSION_ID,
  skipped,
  type CheckGroup,
  type Outcome,
  type Severity,
} from '../check.js';
import type { Probe } from '../probe.js';
import { type Reply, fieldOf, isSuccess, summaryOf } from '../reply.js';
import { FETCH, FOREIGN_HOST, FOREIGN_ORIGIN, TRANSPORTS } from '../spec.js';

/** Methods that no preflight has to allow (Fetch, "CORS-safelisted method"), among those of MCP. */
const SAFELISTED = ['GET', 'POST'];

const SECURITY = `${TRANSPORTS}#security-warning`;

const listOf = (header: string | undefined): string[] =>
  (header ?? '').split(',').map((name) => name.trim().toLowerCase());

const headerOf = ({ headers }: Reply, name: string): string | undefined => {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
};

/** Whether a page of the origin may read the reply (Fetch, "CORS check"). */
function isReadable(reply: Reply, origin: string): boolean {
  const allowed = headerOf(reply, 'access-control-allow-origin');
  return allowed === '*' || allowed === origin;
}

const wasServed = (reply: Reply): boolean => isSuccess(reply) && reply.result !== undefined;

/** Sends the preflight of a browser, which has no headers of the page. */
async function preflight(probe: Probe, method: string, names: readonly string[]): Promise<Reply> {
  const reply = await probe.client.send({
    method: 'OPTIONS',
    isBare: true,
    headers: {
      origin: probe.options.origin,
      'access-control-request-method': method,
      'access-control-request-headers': [...names].sort().join(','),
    },
  });
  await reply.read(probe.options.timeoutMs);
  return reply;
}

/** The reason why a preflight forbids the request (Fetch, "CORS-preflight fetch"); undefined when it allows it. */
function refusedBy(reply: Reply, probe: Probe, method: string, names: readonly string[]): string | undefined {
  if (!isSuccess(reply)) return summaryOf(reply);
  if (!isReadable(reply, probe.options.origin ?? '')) {
    return `Access-Control-Allow-Origin is ${headerOf(reply, 'access-control-allow-origin') ?? 'missing'}`;
  }
  const methods = listOf(headerOf(reply, 'access-control-allow-methods'));
  if (!SAFELISTED.includes(method) && !methods.includes(method.toLowerCase()) && !methods.includes('*'))
    return `${method} is not in Access-Control-Allow-Methods`;
  const allowed = listOf(headerOf(reply, 'access-control-allow-headers'));
  // The wildcard does not stand for Authorization.
  const isAllowed = (name: string) => allowed.includes(name) || (allowed.includes('*') && name !== 'authorization');
  const missing = names.filter((name) => !isAllowed(name));
  return missing.length === 0 ? undefined : `Access-Control-Allow-Headers lacks ${missing.join(', ')}`;
}

/** The headers that name a session and its version, where there is a session. */
const sessionNames = ({ facts: { session } }: Probe): readonly string[] =>
  session?.id === undefined ? ['mcp-protocol-version'] : ['mcp-protocol-version', 'mcp-session-id'];

/** A page resumes a stream by Last-Event-ID if the events have IDs. */
const mayResume = ({ client }: Probe): boolean =>
  client.replies.some(({ body }) => body.events.some(({ id }) => id !== undefined));

/** Clients send Mcp-Name with calls of tools, prompts and resources. */
const hasNames = ({ facts: { discovered } }: Probe): boolean =>
  ['tools', 'prompts', 'resources'].some((name) => fieldOf(discovered?.capabilities, name) !== undefined);

async function checkPreflight(
  probe: Probe,
  method: string,
  names: readonly string[],
  severity?: Severity,
): Promise<Outcome> {
  const all = [...names, ...Object.keys(probe.options.headers)].map((name) => name.toLowerCase());
  const refused = refusedBy(await preflight(probe, method, all), probe, method, all);
  return refused === undefined ? OK : problem(refused, severity);
}

/** The access of web pages: of those that should reach the endpoint, and of those that should not. */
export const BROWSERS: CheckGroup = {
  name: 'Web pages',
  checks: [
    {
      id: 'foreign-origin',
      title: 'A request from a page of any other origin gets 403',
      severity: 'error',
      source: SECURITY,
      mend: 'Compare `Origin` with a list, and answer 403 to any other. Requests without `Origin` come from no page.',
      needs: [ANY_ERA],
      run: async (probe) => {
        const reply = await probe.ask({ headers: { origin: FOREIGN_ORIGIN } });
        if (!wasServed(reply)) return OK;
        if (probe.facts.isLocal) return problem(summaryOf(reply));
        // A public endpoint that lets every page read its answers has no foreign origin.
        return isReadable(reply, FOREIGN_ORIGIN) ? OK : problem(summaryOf(reply), 'warning');
      },
    },
    {
      id: 'dns-rebinding',
      title: 'A page whose name was rebound to this address is refused: `Host` and `Origin` are both of that name',
      severity: 'error',
      source: SECURITY,
      mend: 'Compare `Host` with the names that clients use. An `Origin` that equals `Host` proves nothing.',
      needs: [ANY_ERA, LOCAL],
      run: async (probe) => {
        const { protocol, port } = probe.options.url;
        if (protocol === 'https:')
          return skipped('a page of another name gets no connection: the certificate names this one');
        const host = port === '' ? FOREIGN_HOST : `${FOREIGN_HOST}:${port}`;
        const reply = await probe.ask({ headers: { host, origin: `${protocol}//${host}` } });
        return expect(!wasServed(reply), reply);
      },
    },
    {
      id: 'no-preflight',
      title: 'A page cannot avoid the preflight: a message as `text/plain` from another origin is refused',
      severity: 'error',
      source: `${FETCH}/#simple-header`,
      mend: 'Check `Origin`, and answer 415 to everything but `application/json`.',
      needs: [ANY_ERA, LOCAL],
      run: async (probe) => {
        const reply = await probe.ask({ headers: { origin: FOREIGN_ORIGIN, 'content-type': 'text/plain' } });
        return expect(!wasServed(reply), reply);
      },
    },
    {
      id: 'preflight',
      title: 'The preflight of a page with `--origin` allows POST and the headers of a client',
      severity: 'error',
      source: `${FETCH}/#cors-preflight-fetch`,
      mend: 'Answer OPTIONS before the authentication, as preflights have no token, and allow the headers that are asked for.',
      needs: [SESSION_ERA, ORIGIN],
      run: async (probe) => {
        const names = sessionNames(probe);
        const outcome = await checkPreflight(probe, 'POST', ['content-type', ...names]);
        if (outcome.status !== 'ok' || !mayResume(probe)) return outcome;
        return checkPreflight(probe, 'GET', ['last-event-id', ...names], 'warning');
      },
    },
    {
      id: 'preflight-delete',
      title: 'The preflight of a page with `--origin` allows DELETE',
      severity: 'warning',
      source: `${FETCH}/#cors-preflight-fetch`,
      mend: 'Name GET, POST and DELETE in `Access-Control-Allow-Methods`. Otherwise pages cannot end their sessions.',
      needs: [SESSION_ID, ORIGIN],
      run: (probe) => checkPreflight(probe, 'DELETE', sessionNames(probe)),
    },
    {
      id: 'preflight-per-request',
      title: 'The preflight of a page with `--origin` allows the headers of MCP 2026-07-28, such as `Mcp-Method`',
      severity: 'error',
      source: `${FETCH}/#cors-preflight-fetch`,
      mend: 'Allow the headers that are asked for: `Mcp-Param-*` cannot be listed in advance.',
      needs: [PER_REQUEST, ORIGIN],
      run: (probe) => {
        const names = ['content-type', 'mcp-method', 'mcp-protocol-version'];
        return checkPreflight(probe, 'POST', hasNames(probe) ? [...names, 'mcp-name'] : names);
      },
    },
    {
      id: 'readable',
      title: 'A page with `--origin` can read the answers, and `Mcp-Session-Id` among their headers',
      severity: 'error',
      source: `${FETCH}/#cors-check`,
      mend: 'Send `Access-Control-Allow-Origin`, and name `Mcp-Session-Id` in `Access-Control-Expose-Headers`.',
      needs: [ANY_ERA, ORIGIN],
      run: async (probe) => {
        const { origin = '' } = probe.options;
        const reply = await probe.ask({ headers: { origin } });
        if (!wasServed(reply)) return problem(summaryOf(reply));
        if (!isReadable(reply, origin)) return problem('the reply has no Access-Control-Allow-Origin for the page');
        if (probe.facts.session?.id === undefined) return OK;
        const opening = await probe.beside((opened) => opened.opening, { origin });
        const exposed = listOf(headerOf(opening, 'access-control-expose-headers'));
        if (exposed.includes('mcp-session-id') || exposed.includes('*')) return OK;
        return problem('Access-Control-Expose-Headers lacks Mcp-Session-Id on the answer to initialize');
      },
    },
    {
      id: 'readable-errors',
      title: 'A page with `--origin` can read refusals, so that it learns that its session has ended',
      severity: 'warning',
      source: `${FETCH}/#cors-check`,
      mend: 'Set the CORS headers before anything can refuse the request.',
      needs: [ANY_ERA, ORIGIN],
      run: async (probe) => {
        const { origin = '' } = probe.options;
        const refused = await probe.ask({ headers: { origin }, body: [Buffer.from('{"jsonrpc":')] });
        return isReadable(refused, origin) ? OK : problem(`${summaryOf(refused)}, without Access-Control-Allow-Origin`);
      },
    },
    {
      id: 'vary',
      title: 'A reply that allows one origin says `Vary: Origin`, so that no cache gives it to another',
      severity: 'warning',
      source: `${FETCH}/#cors-protocol-and-http-caches`,
      mend: 'Add `Vary: Origin` where `Access-Control-Allow-Origin` depends on the request.',
      needs: [ANY_ERA, ORIGIN],
      run: async (probe) => {
        const { origin = '' } = probe.options;
        const reply = await probe.ask({ headers: { origin } });
        if (headerOf(reply, 'access-control-allow-origin') !== origin) return OK;
        const names = listOf(headerOf(reply, 'vary'));
        return names.includes('origin') || names.includes('*') ? OK : problem('the reply has no Vary: Origin');
      },
    },
  ],
};
