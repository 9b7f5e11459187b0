import type { ErrorName } from '../../src/errors.js';
import type { McpRouterOptions } from '../../src/index.js';
import { announcingServer } from '../endpoint/announcing-server.js';
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

/** Called when a server is built for a subscription. */
let opened: (value?: unknown) => void = () => undefined;

/** By row. */
export const PER_REQUEST_SCENARIOS: [ErrorName, PerRequestScenario][] = [
  [
    'invalidEnvelope',
    scenario((target) => send(target, 'tools/list', { meta: { 'io.modelcontextprotocol/clientCapabilities': 7 } })),
  ],
  ['invalidFilter', scenario((target) => send(target, 'subscriptions/listen'))],
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
    'subscriptionsAtCapacity',
    scenario(
      async (target) => {
        const request = { params: { notifications: { toolsListChanged: true } } };
        // It stays open, and another request must not wait for its end.
        const served = new Promise((resolve) => (opened = resolve));
        void send(target, 'subscriptions/listen', request).catch(() => undefined);
        await served;
        return send(target, 'subscriptions/listen', request);
      },
      {
        options: {
          perRequest: { maxSubscriptions: 1 },
          serverFactory: () => {
            opened();
            return announcingServer().server;
          },
        },
      },
    ),
  ],
  [
    'invalidRequestState',
    scenario((target) => send(target, ...call('once', { ...asks, params: { requestState: 'of no call' } }))),
  ],
];
