import type { ErrorName } from '../../src/errors.js';
import type { McpRouterOptions } from '../../src/index.js';
import { askingServer } from '../endpoint/asking-server.js';
import type { Headers, Target } from '../support/target.js';
import { bodyOf, headersOf, VERSION, type PerRequest } from '../support/per-request.js';
import type { RawResponse } from '../support/raw-http.js';

/** A request of MCP 2026-07-28 that gets a row of the error table. */
export interface PerRequestScenario {
  readonly options: Partial<McpRouterOptions>;
  readonly id: number | null;
  /** What the error says beside its message. */
  readonly data?: unknown;
  provoke(target: Target): Promise<RawResponse>;
}

const options = { perRequest: true, serverFactory: () => askingServer() };
const send = (target: Target, method: string, request: PerRequest = {}, headers: Headers = {}) =>
  target.post(bodyOf(method, request), { ...headersOf(method, request), ...headers });
const call = (name: string, more: PerRequest = {}): [string, PerRequest] => [
  'tools/call',
  { ...more, params: { name, ...more.params } },
];
const scenario = (
  provoke: PerRequestScenario['provoke'],
  more: Partial<PerRequestScenario> = {},
): PerRequestScenario => ({
  options,
  id: 1,
  provoke,
  ...more,
});
const asks = { capabilities: { elicitation: {} } };

/** By row. */
export const PER_REQUEST_SCENARIOS: [ErrorName, PerRequestScenario][] = [
  [
    'invalidEnvelope',
    scenario((target) => send(target, 'tools/list', { meta: { 'io.modelcontextprotocol/clientCapabilities': 7 } })),
  ],
  ['perRequestInBatch', scenario((target) => target.post([bodyOf('tools/list')]), { id: null })],
  ['headerMismatch', scenario((target) => send(target, 'tools/list', {}, { 'mcp-method': 'tools/call' }))],
  [
    'missingCapability',
    scenario((target) => send(target, ...call('roots')), { data: { requiredCapabilities: { roots: {} } } }),
  ],
  [
    'versionNotServed',
    scenario(
      (target) => {
        const meta = { 'io.modelcontextprotocol/protocolVersion': '1900-01-01' };
        return send(target, 'tools/list', { meta }, { 'mcp-protocol-version': '1900-01-01' });
      },
      { data: { supported: [VERSION], requested: '1900-01-01' } },
    ),
  ],
  ['methodNotFound', scenario((target) => send(target, 'ping'))],
  [
    'suspendedAtCapacity',
    scenario(
      async (target) => {
        await send(target, ...call('once', asks));
        return send(target, ...call('once', asks));
      },
      { options: { ...options, perRequest: { maxSuspended: 1 } } },
    ),
  ],
  [
    'invalidRequestState',
    scenario((target) => send(target, ...call('once', { ...asks, params: { requestState: 'of nobody' } }))),
  ],
];
