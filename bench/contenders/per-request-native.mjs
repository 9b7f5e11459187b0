import { v2 } from 'express-mcp-router/v2';
import { modernFactory } from '../tools/sdk-v2.mjs';
import { servePerRequest } from './serve-per-request.mjs';

/** This package, with servers of SDK v2 that serve MCP 2026-07-28 themselves. */
export const start = (options) => servePerRequest(options, modernFactory(options), v2());
