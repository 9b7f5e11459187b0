import type { McpRouterOptions, McpServerLike, ServerContext } from 'express-mcp-router';
import { ConfigError, type Config } from './config.js';
import { buildServer } from './server.js';
import { APP } from './variables.js';

/** The servers of one version of the SDK. */
export interface Servers {
  readonly build: (context: ServerContext, hasStore: boolean) => McpServerLike;
  /** How they serve MCP 2026-07-28. */
  readonly perRequest: NonNullable<McpRouterOptions['perRequest']>;
}

/**
 * Loads the servers of the version that the configuration names. Version 2 is loaded only then, as it may not be installed.
 *
 * @throws ConfigError when version 2 is not installed.
 */
export async function loadServers({ sdk, router }: Config): Promise<Servers> {
  const perRequest = router.perRequest ?? false;
  if (sdk === 'v1') return { build: buildServer, perRequest };
  const [{ buildServerV2 }, { v2 }] = await Promise.all([
    import('./server-v2.js'),
    import('express-mcp-router/v2'),
  ]).catch(explainMissing);
  return { build: buildServerV2, perRequest: perRequest && { sdk: v2() } };
}

function explainMissing(error: unknown): never {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
  throw new ConfigError(`${APP.sdk.name}=v2 needs a package: npm install @modelcontextprotocol/server`, {
    cause: error,
  });
}
