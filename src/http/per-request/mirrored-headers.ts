import type { IncomingHttpHeaders } from 'node:http';
import type { JSONRPCRequest } from '../../protocol/messages.js';
import { decodeHeader } from '../../protocol/encoded-header.js';
import { NAMING_PARAMETERS } from '../../protocol/per-request-era.js';

/**
 * Whether the headers of a request repeat its body: `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name`. Intermediaries route
 * by the headers, and the server acts on the body (MCP 2026-07-28, basic/transports/streamable-http, "Server Validation").
 */
export function mirrorBody(headers: IncomingHttpHeaders, request: JSONRPCRequest, version: string): boolean {
  return (
    headers['mcp-protocol-version'] === version &&
    headers['mcp-method'] === request.method &&
    mirrorsName(headers['mcp-name'], request)
  );
}

/** Without the parameter there is nothing to mirror; the server refuses such a request. */
function mirrorsName(header: string | string[] | undefined, { method, params }: JSONRPCRequest): boolean {
  const parameter = NAMING_PARAMETERS.get(method);
  if (parameter === undefined) return true;
  const name = params?.[parameter];
  if (typeof name !== 'string') return header === undefined;
  return typeof header === 'string' && decodeHeader(header) === name;
}
