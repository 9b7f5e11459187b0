import type { IncomingHttpHeaders } from 'node:http';
import type { JSONRPCMessage, JSONRPCRequest } from '../../protocol/messages.js';
import { Refusal } from '../../errors.js';
import type { Era } from '../../options/options.js';
import { declaredVersion, envelopeOf, type Envelope } from './envelope.js';
import { mirrorBody } from './mirrored-headers.js';
import { PER_REQUEST_VERSIONS } from '../../protocol/per-request-era.js';
import { sizeOf } from '../../transport/request-memory.js';

/** Bytes of a client's description of itself, an estimate. A session may keep about as many. Servers, streams and calls keep it. */
const MAX_CLIENT = 32 * 1024;

/**
 * The era that a POST belongs to. Its body decides; the header decides only for a body that declares no version, and `initialize` opens
 * a session whatever the header says (MCP 2026-07-28, basic/versioning, "Backward Compatibility with Initialization-Based
 * Versions").
 *
 * @throws Refusal `perRequestInBatch` for a batch with a message of the per-request era.
 */
export function eraOf(messages: readonly JSONRPCMessage[], batch: boolean, headers: IncomingHttpHeaders): Era {
  const declared = messages.some((message) => declaredVersion(message) !== undefined);
  if (declared && batch) throw new Refusal('perRequestInBatch');
  if (declared) return 'request';
  const [message] = messages;
  if (batch || message === undefined || !('method' in message) || message.method === 'initialize') return 'session';
  return PER_REQUEST_VERSIONS.includes(String(headers['mcp-protocol-version'])) ? 'request' : 'session';
}

/**
 * The envelope of a request of the per-request era.
 *
 * @throws Refusal `invalidEnvelope`, `headerMismatch` or `versionNotServed`.
 */
export function checkRequest(request: JSONRPCRequest, headers: IncomingHttpHeaders): Envelope {
  const version = declaredVersion(request);
  if (typeof version === 'string') {
    // Before the rest of the envelope, whose fields are those of the version.
    if (headers['mcp-protocol-version'] !== version) throw new Refusal('headerMismatch');
    if (!PER_REQUEST_VERSIONS.includes(version)) throw versionNotServed(version);
  }
  const envelope = envelopeOf(request);
  if (envelope === undefined) throw new Refusal('invalidEnvelope');
  if (sizeOf([envelope.clientInfo ?? null, envelope.clientCapabilities]) > MAX_CLIENT)
    throw new Refusal('invalidEnvelope');
  if (!mirrorBody(headers, request, envelope.version)) throw new Refusal('headerMismatch');
  return envelope;
}

/** The refusal that names the versions which are served. */
export function versionNotServed(requested: string): Refusal {
  return new Refusal('versionNotServed', { data: { supported: PER_REQUEST_VERSIONS, requested } });
}
