import type { Implementation } from '../../protocol/client.js';
import { isObject } from '../../runtime/checks.js';
import type { Fields } from '../../transport/jsonrpc.js';
import { CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION } from '../../protocol/per-request-era.js';
import { isLogLevel, type LogLevel } from '../../protocol/session-era.js';

/** A client's description of itself, in `params._meta` of a request (MCP 2026-07-28, basic/index, "Per-request protocol fields"). */
export interface Envelope {
  readonly version: string;
  /** Undefined when the client does not name itself, which it need not. */
  readonly clientInfo: Implementation | undefined;
  readonly clientCapabilities: Fields;
  /** The least severe level of the log messages that the client asks for. Undefined when it asks for none. */
  readonly logLevel: LogLevel | undefined;
}

/** The version that a message declares in its body; undefined when it declares none. It may be anything that JSON has. */
export function declaredVersion(message: unknown): unknown {
  return metaOf(message)?.[PROTOCOL_VERSION];
}

/** The envelope of a request; undefined when a required field is missing, or a field is malformed. */
export function envelopeOf(request: unknown): Envelope | undefined {
  const meta = metaOf(request);
  if (meta === undefined) return undefined;
  const { [PROTOCOL_VERSION]: version, [CLIENT_CAPABILITIES]: clientCapabilities } = meta;
  const { [CLIENT_INFO]: clientInfo, [LOG_LEVEL]: logLevel } = meta;
  if (typeof version !== 'string' || !isObject(clientCapabilities)) return undefined;
  if (clientInfo !== undefined && !isImplementation(clientInfo)) return undefined;
  if (logLevel !== undefined && !isLogLevel(logLevel)) return undefined;
  return { version, clientInfo, clientCapabilities, logLevel };
}

function metaOf(message: unknown): Fields | undefined {
  const params = isObject(message) ? message.params : undefined;
  const meta = isObject(params) ? params._meta : undefined;
  return isObject(meta) ? meta : undefined;
}

function isImplementation(value: unknown): value is Implementation {
  return isObject(value) && typeof value.name === 'string' && typeof value.version === 'string';
}
