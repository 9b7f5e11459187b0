import type { IncomingMessage, ServerResponse } from 'node:http';
import cors from 'cors';
import type { ResolvedOptions } from '../options/options.js';
import { canonicalOrigin } from './guard.js';

/**
 * CORS for `allowedOrigins`: their pages can send every request of an MCP client, and read every header that it needs. A second
 * call for the same reply changes nothing.
 *
 * @returns A function that sets the headers. It returns true when it has answered the request: a preflight, with 204.
 */
export function createCors({
  allowedOrigins,
  allowCredentials,
}: Pick<ResolvedOptions, 'allowedOrigins' | 'allowCredentials'>): (
  req: IncomingMessage,
  res: ServerResponse,
) => boolean {
  if (allowedOrigins.length === 0) return () => false;
  // Without `allowedHeaders`, the package allows the headers that the preflight requests, and names them in Vary. A fixed list
  // is not possible: clients send Mcp-Param-* for each tool, and apps have headers of their own (API keys, traceparent).
  const setHeaders = cors<IncomingMessage>({
    origin: allowedOrigins.map(canonicalOrigin),
    credentials: allowCredentials,
    methods: ['GET', 'POST', 'DELETE'],
    // In seconds. Chromium's upper limit. With its default of 5 s, browsers would send many preflights.
    maxAge: 7200,
    exposedHeaders: ['Mcp-Session-Id', 'MCP-Protocol-Version', 'WWW-Authenticate', 'Retry-After'],
  });

  return (req, res) => {
    const preflight = req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined;
    // The package ends every OPTIONS as a preflight. A page can send no other OPTIONS, as its preflight forbids that.
    if (req.method === 'OPTIONS' && !preflight) return false;
    setHeaders(req, res, () => undefined);
    return preflight;
  };
}
