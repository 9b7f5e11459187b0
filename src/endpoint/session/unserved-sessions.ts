import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION } from '../../protocol/session-era.js';
import { Refusal } from '../../errors.js';
import type { Exchange } from '../../http/exchange.js';
import { versionNotServed } from '../../http/per-request/check.js';
import type { Post } from '../../http/receive.js';
import type { Endpoint } from '../endpoint.js';

/** Stands where the session era's endpoint would, on a router that serves only MCP 2026-07-28. Every request is refused. */
export class UnservedSessions implements Endpoint {
  readonly methods = ['POST'];

  /** Names the versions that are served, so that the client can choose one (MCP 2026-07-28, basic/versioning). */
  post({ req }: Exchange, { batch, initialize }: Post): Promise<void> {
    if (batch) return Promise.reject(new Refusal('perRequestInBatch'));
    const versions: unknown[] = [initialize?.params?.protocolVersion, req.headers['mcp-protocol-version']];
    // A client of 2025-03-26 sends no header.
    const requested = versions.find((version) => typeof version === 'string') ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
    return Promise.reject(versionNotServed(requested));
  }

  drain(): void {
    // Nothing is open.
  }

  idle(): Promise<void> {
    return Promise.resolve();
  }

  endStreams(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
