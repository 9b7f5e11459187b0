import { inspect } from 'node:util';
import { isObject } from '../../runtime/checks.js';
import { expect, OK, PER_REQUEST, problem, skipped, type CheckGroup, type Need, type Outcome } from '../check.js';
import type { Probe } from '../probe.js';
import type { Message } from '../body.js';
import { type Reply, fieldOf, summaryOf } from '../reply.js';
import {
  CACHING,
  CAPABILITIES_FIELD,
  CODES,
  DISCOVER,
  LATER_BASIC,
  LATER_HTTP,
  PER_REQUEST_VERSION,
  SERVER_INFO_FIELD,
  UNKNOWN_METHOD,
  UNKNOWN_VERSION,
  VERSIONING,
} from '../spec.js';

const VALIDATION = `${LATER_HTTP}#server-validation`;
const COMPATIBILITY = `${LATER_HTTP}#earlier-streamable-http-revisions`;

/** A tool that no server has, so that a request which is not refused has no effect. */
const UNKNOWN_TOOL = 'doctor-unknown-tool';

const ONLY_PER_REQUEST: Need = (probe) =>
  PER_REQUEST(probe) ?? (probe.facts.session === undefined ? undefined : 'the endpoint serves sessions too');

/** A refusal with a status and a code. */
const expectError = (reply: Reply, status: number, code: number): Outcome =>
  expect(reply.status === status && reply.error?.code === code, reply);

const refusesHeaders = async (reply: Promise<Reply>): Promise<Outcome> =>
  expectError(await reply, 400, CODES.headerMismatch);

/** The fault in the caching hints of a result; undefined when they are right. */
function cacheFault({ ttlMs, cacheScope }: Message): string | undefined {
  if (typeof ttlMs !== 'number' || !Number.isInteger(ttlMs) || ttlMs < 0) return `ttlMs is ${inspect(ttlMs)}`;
  if (cacheScope !== 'public' && cacheScope !== 'private') return `cacheScope is ${inspect(cacheScope)}`;
  return undefined;
}

const offersTools = (probe: Probe): boolean => isObject(fieldOf(probe.facts.discovered?.capabilities, 'tools'));

/** MCP 2026-07-28: each request says all that is needed to answer it. */
export const PER_REQUEST_ERA: CheckGroup = {
  name: 'MCP 2026-07-28',
  checks: [
    {
      id: 'discover',
      title: '`server/discover` names the versions, among them the one that was asked for, and the capabilities',
      severity: 'error',
      source: `${DISCOVER}#discoverresult`,
      mend: 'Send `supportedVersions`, `capabilities` and `resultType: "complete"`.',
      needs: [PER_REQUEST],
      run: ({ facts: { discovered } }) => {
        const { supportedVersions, capabilities, resultType } = discovered ?? {};
        const names = Array.isArray(supportedVersions) && supportedVersions.includes(PER_REQUEST_VERSION);
        const faults = [
          ...(names ? [] : [`supportedVersions lacks ${PER_REQUEST_VERSION}`]),
          ...(isObject(capabilities) ? [] : ['capabilities is no object']),
          ...(resultType === 'complete' ? [] : ['resultType is not "complete"']),
        ];
        return faults.length === 0 ? OK : problem(faults.join(', '));
      },
    },
    {
      id: 'server-info',
      title: 'A result names the server, in its `_meta`',
      severity: 'warning',
      source: `${LATER_BASIC}#meta`,
      mend: 'Add `io.modelcontextprotocol/serverInfo` to the `_meta` of each result.',
      needs: [PER_REQUEST],
      run: ({ facts: { discovered } }) => {
        const name = fieldOf(fieldOf(fieldOf(discovered, '_meta'), SERVER_INFO_FIELD), 'name');
        return typeof name === 'string' ? OK : problem('the result of server/discover lacks it');
      },
    },
    {
      id: 'cache-hints',
      title: 'The results of `server/discover` and `tools/list` have `ttlMs`, not negative, and `cacheScope`',
      severity: 'error',
      source: `${CACHING}#cacheable-results`,
      mend: 'Send `ttlMs: 0` and `cacheScope: "private"` unless you know better.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const results = [probe.facts.discovered];
        if (offersTools(probe)) results.push((await probe.perRequest({ method: 'tools/list' })).result);
        const fault = results.map((result) => (result === undefined ? 'tools/list has no result' : cacheFault(result)));
        const first = fault.find((each) => each !== undefined);
        return first === undefined ? OK : problem(first);
      },
    },
    {
      id: 'version-mismatch',
      title: 'An `MCP-Protocol-Version` that differs from the body gets 400 and the error -32020',
      severity: 'error',
      source: VALIDATION,
      mend: 'Compare the header with `_meta`.',
      needs: [PER_REQUEST],
      run: (probe) => refusesHeaders(probe.perRequest({ headers: { 'mcp-protocol-version': '2025-11-25' } })),
    },
    {
      id: 'missing-mcp-method',
      title: 'A request without `Mcp-Method` gets 400 and the error -32020',
      severity: 'error',
      source: VALIDATION,
      mend: 'Require the header on each request.',
      needs: [PER_REQUEST],
      run: (probe) => refusesHeaders(probe.perRequest({ headers: { 'mcp-method': undefined } })),
    },
    {
      id: 'mcp-method',
      title: 'An `Mcp-Method` that differs from the body gets 400 and the error -32020',
      severity: 'error',
      source: VALIDATION,
      mend: 'Compare the header with the method of the request. Proxies decide by the header.',
      needs: [PER_REQUEST],
      run: (probe) => refusesHeaders(probe.perRequest({ headers: { 'mcp-method': 'tools/list' } })),
    },
    {
      id: 'mcp-name',
      title: "An `Mcp-Name` that differs from the tool's name gets 400 and the error -32020",
      severity: 'error',
      source: VALIDATION,
      mend: 'Compare the header with `params.name`, before the tool is looked up.',
      needs: [PER_REQUEST],
      run: (probe) => {
        if (!offersTools(probe)) return skipped('the server has no tools');
        return refusesHeaders(
          probe.perRequest({ method: 'tools/call', params: { name: UNKNOWN_TOOL }, headers: { 'mcp-name': 'other' } }),
        );
      },
    },
    {
      id: 'unsupported-version',
      title: 'A version that does not exist gets 400 and the error -32022, with the versions that do',
      severity: 'error',
      source: `${VERSIONING}#protocol-version-negotiation`,
      mend: 'Send `data: { supported, requested }`, from which clients choose.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const reply = await probe.perRequest({}, UNKNOWN_VERSION);
        const isNamed = Array.isArray(fieldOf(reply.error?.data, 'supported'));
        return isNamed ? expectError(reply, 400, CODES.unsupportedVersion) : problem(summaryOf(reply));
      },
    },
    {
      id: 'missing-capabilities',
      title: 'A request that does not declare its capabilities gets 400 and the error -32602',
      severity: 'error',
      source: `${LATER_BASIC}#meta`,
      mend: 'Require `io.modelcontextprotocol/clientCapabilities` in the `_meta` of each request.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const reply = await probe.perRequest({ meta: { [CAPABILITIES_FIELD]: undefined } });
        return expectError(reply, 400, CODES.invalidParams);
      },
    },
    {
      id: 'method-not-found',
      title: 'A method that the server does not know gets 404 and the error -32601',
      severity: 'error',
      source: `${LATER_HTTP}#protocol-version-header`,
      mend: 'Answer 404. The error in the body tells clients that the endpoint is right.',
      needs: [PER_REQUEST],
      run: async (probe) => expectError(await probe.perRequest({ method: UNKNOWN_METHOD }), 404, CODES.methodNotFound),
    },
    {
      id: 'no-session-id',
      title: 'A request is served whatever `Mcp-Session-Id` it has, and gets none',
      severity: 'warning',
      source: COMPATIBILITY,
      mend: 'Look at the version in `_meta` first, and at `Mcp-Session-Id` only where there is none.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const reply = await probe.perRequest({ headers: { 'mcp-session-id': 'doctor-unknown-session' } });
        if (reply.result !== undefined && reply.headers['mcp-session-id'] === undefined) return OK;
        // The page asks it of servers of this revision alone.
        return problem(summaryOf(reply), probe.facts.session === undefined ? 'warning' : 'info');
      },
    },
    {
      id: 'get-and-delete',
      title: 'Where only this version is served, GET and DELETE get 405',
      severity: 'warning',
      source: COMPATIBILITY,
      mend: 'Answer 405 to everything but POST.',
      needs: [ONLY_PER_REQUEST],
      run: async (probe) => {
        const get = await probe.openStream();
        get.close();
        if (get.status !== 405) return problem(summaryOf(get));
        const end = await probe.end({});
        return expect(end.status === 405, end);
      },
    },
    {
      id: 'initialize-refused',
      title: 'Where only this version is served, the refusal of `initialize` names it',
      severity: 'warning',
      source: `${VERSIONING}#backward-compatibility-with-initialization-based-versions`,
      mend: 'Name the versions in the message or the data of the error: older clients show it to their users.',
      needs: [ONLY_PER_REQUEST],
      run: ({ facts: { opening } }) => {
        if (opening === undefined) return problem('initialize got no answer');
        return expect(opening.body.text.includes(PER_REQUEST_VERSION), opening);
      },
    },
  ],
};
