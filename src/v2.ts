/** The entry of `express-mcp-router/v2`: the only file that loads `@modelcontextprotocol/server`. */
import { McpServer, PerRequestHTTPServerTransport, Protocol } from '@modelcontextprotocol/server';
import type { PerRequestSdk } from './options/per-request-sdk.js';
import type { JSONRPCMessage } from './protocol/messages.js';
import type { WireTransport } from './protocol/wire-transport.js';

export type { McpServerLike } from './options/options.js';
export type { NativeServer, PerRequestSdk } from './options/per-request-sdk.js';
export type * from './protocol/messages.js';
export type { AuthInfo, MessageExtraInfo, WireTransport } from './protocol/wire-transport.js';

const REVISION = '2026-07-28';
const CLASSIFICATION = { era: 'modern', revision: REVISION } as const;

/** The accessor is deprecated for apps, and names the revision that `connect()` has bound a server to. */
interface Bound {
  getNegotiatedProtocolVersion?(): string | undefined;
}

/**
 * Has servers of the SDK's version 2 serve MCP 2026-07-28 themselves: `perRequest: { sdk: v2() }`. Each must name that revision in
 * its option `supportedProtocolVersions`. Servers of version 1 are bridged as without it.
 */
export function v2(): PerRequestSdk {
  return {
    adapt: (server) => {
      const protocol: unknown = server instanceof McpServer ? server.server : server;
      if (!(protocol instanceof Protocol)) return undefined;
      return {
        async connect(transport) {
          const native = new NativeTransport(transport);
          await (server instanceof McpServer ? server : protocol).connect(native);
          if ((protocol as Bound).getNegotiatedProtocolVersion?.() === REVISION) return;
          throw new TypeError(
            `A server of SDK v2 must name ${REVISION} in its option supportedProtocolVersions to serve it: ` +
              `new McpServer(info, { supportedProtocolVersions: ['${REVISION}', ...SUPPORTED_PROTOCOL_VERSIONS] })`,
          );
        },
        close: () => server.close(),
        inputSchemaOf: (tool) => (server instanceof McpServer ? server.toolInputSchemaJson(tool) : undefined),
      };
    },
  };
}

/**
 * Carries any number of requests between a server and another transport. `connect()` binds a server to MCP 2026-07-28 when its
 * transport is an instance of this base class. What the base class itself does is for one request, so none of it is used.
 */
class NativeTransport extends PerRequestHTTPServerTransport {
  readonly #inner: WireTransport;

  constructor(inner: WireTransport) {
    super({ classification: CLASSIFICATION });
    this.#inner = inner;
  }

  override start(): Promise<void> {
    const inner = this.#inner;
    inner.onmessage = (message, extra) =>
      this.onmessage?.(message, { ...extra, classification: CLASSIFICATION } as object);
    inner.onclose = () => this.onclose?.();
    inner.onerror = (error) => this.onerror?.(error);
    return inner.start();
  }

  override send(message: JSONRPCMessage, options?: Parameters<WireTransport['send']>[1]): Promise<void> {
    return this.#inner.send(message, options);
  }

  override close(): Promise<void> {
    return this.#inner.close();
  }
}
