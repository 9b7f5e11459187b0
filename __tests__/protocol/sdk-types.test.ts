import * as v2 from '@modelcontextprotocol/server';
import type { AuthInfo as AuthInfoV1 } from '@modelcontextprotocol/sdk/server/auth/types.js';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { EventStore as EventStoreV1 } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport as TransportV1 } from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  ClientCapabilities as ClientCapabilitiesV1,
  Implementation as ImplementationV1,
  JSONRPCMessage as JSONRPCMessageV1,
} from '@modelcontextprotocol/sdk/types.js';
import type {
  AuthInfo,
  ClientCapabilities,
  EventStore,
  Implementation,
  JSONRPCMessage,
  ServerFactory,
  WireTransport,
} from '../../src/index.js';

// The package names no type of either SDK. These lines compile only while values of both fit into its own types, and back.

/** True where a value of the first type fits into the second, and back. */
type Both<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const fits: true[] = [
  true satisfies Both<AuthInfo, AuthInfoV1>,
  true satisfies Both<AuthInfo, v2.AuthInfo>,
  true satisfies Both<EventStore, EventStoreV1>,
  true satisfies Both<EventStore, v2.EventStore>,
  true satisfies Both<JSONRPCMessage, JSONRPCMessageV1>,
  true satisfies Both<Implementation, ImplementationV1>,
  true satisfies Both<Implementation, v2.Implementation>,
];

const toTransportV1 = (transport: WireTransport): TransportV1 => transport;
const toTransportV2 = (transport: WireTransport): v2.Transport => transport;
const fromV1 = (capabilities: ClientCapabilitiesV1): ClientCapabilities => capabilities;
const toV1 = (capabilities: ClientCapabilities): ClientCapabilitiesV1 => capabilities;
const fromV2 = (capabilities: v2.ClientCapabilities): ClientCapabilities => capabilities;

const info = { name: 'typed', version: '1' };
const factories: ServerFactory[] = [
  () => new McpServerV1(info),
  async () => new McpServerV1(info),
  () => new McpServerV1(info).server,
  () => new v2.McpServer(info),
  async () => new v2.McpServer(info),
  () => new v2.McpServer(info).server,
];

test('types of both SDKs fit into those of the package, which names neither', () => {
  expect(fits).not.toContain(false);
  for (const convert of [toTransportV1, toTransportV2, fromV1, toV1, fromV2]) expect(convert.length).toBe(1);
  expect(factories).toHaveLength(6);
});
