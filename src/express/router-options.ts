import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { Request } from 'express';
import type { McpEndpointOptions, MountOptions } from '../options/options.js';

/** A request as the app's middleware left it: Express' own, and the properties that this middleware declares (`user`, say). */
export type IdentifiableRequest = Request & { auth?: AuthInfo };

/** Names the caller's party, in the same way for as long as a session may live. Undefined: the party is not known. */
export type PrincipalFunction<R = IdentifiableRequest> = (req: R) => string | undefined;

/** Options of {@link mcpRouter}. All times are milliseconds. `undefined` is the same as leaving the key out. */
export interface McpRouterOptions extends McpEndpointOptions<IdentifiableRequest>, MountOptions {
  metrics?: MountOptions['metrics'];
}
