import fc from 'fast-check';

/** A request of MCP 2026-07-28, right or wrong in any of its parts. */
export interface PerRequestParts {
  readonly body: object;
  readonly headers: readonly (readonly [string, string])[];
  /** Whether its reply may be a stream that stays open. */
  readonly listens: boolean;
}

const META = 'io.modelcontextprotocol/';
const VERSION = '2026-07-28';

const oneIn = <T>(many: number, rare: fc.Arbitrary<T>, usual: fc.Arbitrary<T>) =>
  fc.oneof({ weight: many - 1, arbitrary: usual }, { weight: 1, arbitrary: rare });

/** Also what a value is that is left out. */
const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(undefined, null, '__proto__', 'constructor'),
);

const states = [
  `${'A'.repeat(22)}.1`,
  `7b1c8f0e-0000-4000-8000-000000000000.${'A'.repeat(22)}.1`,
  `${'A'.repeat(22)}.`,
];
const answer = { action: 'accept', content: {} };
const filters = [
  { toolsListChanged: true },
  { toolsListChanged: true, resourceSubscriptions: ['test://x', ''] },
  { promptsListChanged: true },
  { resourceSubscriptions: 'test://x' },
  {},
];
const METHODS = [
  ...[
    'tools/call',
    'tools/call',
    'tools/call',
    'tools/list',
    'server/discover',
    'subscriptions/listen',
    'subscriptions/listen',
  ],
  ...['prompts/get', 'resources/read', 'completion/complete', 'ping', 'initialize', 'tasks/get', 'notifications/x'],
];
const HEADERS = ['MCP-Protocol-Version', 'Mcp-Method', 'Mcp-Name'] as const;

const encoded = (value: string): string => `=?base64?${Buffer.from(value).toString('base64')}?=`;
const isPlain = (value: string): boolean => /^[!-~](?:[ -~]*[!-~])?$/.test(value);

/** @param names - Of tools. @param headerValue - Whatever HTTP allows. */
export const perRequest = (
  id: fc.Arbitrary<unknown>,
  names: readonly string[],
  headerValue: fc.Arbitrary<string>,
): fc.Arbitrary<PerRequestParts> =>
  fc
    .record({
      id,
      method: oneIn<string>(10, fc.string({ maxLength: 20 }), fc.constantFrom(...METHODS)),
      name: oneIn<unknown>(20, odd, fc.constantFrom<unknown>(...names, 'naïve')),
      version: oneIn<unknown>(20, odd, fc.constant(VERSION)),
      capabilities: oneIn<unknown>(
        20,
        odd,
        fc.constantFrom<unknown>({}, { elicitation: {} }, { elicitation: { url: {} } }),
      ),
      clientInfo: oneIn<unknown>(20, odd, fc.constant({ name: 'fuzz', version: '1' })),
      logLevel: oneIn<unknown>(12, fc.oneof(odd, fc.constant('debug')), fc.constant(undefined)),
      progressToken: oneIn<unknown>(3, fc.oneof(odd, fc.nat(9)), fc.constant(undefined)),
      requestState: oneIn<unknown>(8, fc.oneof(odd, fc.constantFrom(...states)), fc.constant(undefined)),
      inputResponses: oneIn<unknown>(
        4,
        fc.oneof(odd, fc.dictionary(fc.string(), fc.constant(answer))),
        fc.constant(undefined),
      ),
      notifications: oneIn<unknown>(5, odd, fc.constantFrom<unknown>(...filters)),
      arguments: oneIn<unknown>(4, fc.jsonValue(), fc.constant({ text: 'x' })),
      wrong: oneIn<readonly [string, string | undefined] | undefined>(
        12,
        fc.tuple(fc.constantFrom(...HEADERS), fc.oneof(headerValue, fc.constantFrom('=?base64?x?=', '', undefined))),
        fc.constant(undefined),
      ),
      param: oneIn<string | undefined>(8, headerValue, fc.constant(undefined)),
    })
    .map(({ id, method, name, version, wrong, param, ...rest }) => {
      const { capabilities, clientInfo, logLevel, progressToken, ...params } = rest;
      const declared = {
        [`${META}protocolVersion`]: version,
        [`${META}clientCapabilities`]: capabilities,
        [`${META}clientInfo`]: clientInfo,
        [`${META}logLevel`]: logLevel,
        progressToken,
      };
      const isNotification = method.startsWith('notifications/');
      const body = {
        jsonrpc: '2.0',
        ...(!isNotification && { id }),
        method,
        params: { ...params, name, uri: name, _meta: declared },
      };
      const headers = new Map<string, string | undefined>([
        ['MCP-Protocol-Version', typeof version === 'string' && isPlain(version) ? version : undefined],
        ['Mcp-Method', isPlain(method) ? method : undefined],
        ['Mcp-Name', typeof name === 'string' ? (isPlain(name) ? name : encoded(name)) : undefined],
        ['Mcp-Param-Text', param],
      ]);
      if (wrong !== undefined) headers.set(...(wrong as [string, string | undefined]));
      return {
        body,
        headers: [...headers].filter((header): header is [string, string] => header[1] !== undefined),
        listens: method === 'subscriptions/listen',
      };
    });
