import { sdkFactory } from '../tools/sdk-v1.mjs';
import { servePerRequest } from './serve-per-request.mjs';

/** This package, whose bridge answers clients of MCP 2026-07-28 by servers of SDK v1. */
export const start = (options) => servePerRequest(options, sdkFactory(options));
