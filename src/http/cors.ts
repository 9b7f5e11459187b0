import type { IncomingMessage, ServerResponse } from 'node:http';
import cors from 'cors';
import type { ResolvedOptions } from '../options.js';
import { canonicalOrigin } from './guard.js';

/**
 * CORS for `allowedOrigins`: lets their pages send what an MCP client sends, and read what it must read. To apply it twice to
 * one reply changes nothing.
 *
 * @returns A function that sets the headers, and tells whether it has answered the request: a preflight, with 204.
 */
export function createCors({
  allowedOrigins,
  allowCredentials,
}: Pick<ResolvedOptions, 'allowedOrigins' | 'allowCredentials'>): (
  req: IncomingMessage,
  res: ServerResponse,
) => boolean {
  if (allowedOrigins.length === 0) return () => false;
  // Without `allowedHeaders` the package allows the headers that a preflight asks for, and says so in Vary. A list could not
  // name them: clients send Mcp-Param-* for each tool, and apps have headers of their own (API keys, traceparent).
  const setHeaders = cors<IncomingMessage>({
    origin: allowedOrigins.map(canonicalOrigin),
    credentials: allowCredentials,
    methods: ['GET', 'POST', 'DELETE'],
    // The most that Chromium keeps: without it, every few seconds another preflight.
    maxAge: 7200,
    exposedHeaders: ['Mcp-Session-Id', 'MCP-Protocol-Version', 'WWW-Authenticate', 'Retry-After'],
  });

  return (req, res) => {
    const preflight = req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined;
    // The package takes every OPTIONS for a preflight, and ends it. Pages never send another: their preflight forbids it.
    if (req.method === 'OPTIONS' && !preflight) return false;
    setHeaders(req, res, () => undefined);
    return preflight;
  };
}
