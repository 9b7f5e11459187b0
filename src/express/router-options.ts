import type { AuthInfo } from '../protocol/wire-transport.js';
import type { Request } from 'express';
import type { McpEndpointOptions, MountOptions } from '../options/options.js';

/** A request of Express with the properties that the app's middleware declares, such as `user`. */
export type IdentifiableRequest = Request & { auth?: AuthInfo };

/** Returns the principal of a request. It must stay the same during a session. Undefined when the principal is not known. */
export type PrincipalFunction<R = IdentifiableRequest> = (req: R) => string | undefined;

/** Options of {@link mcpRouter}. All times are milliseconds. `undefined` is the same as leaving the key out. */
export interface McpRouterOptions extends McpEndpointOptions<IdentifiableRequest>, MountOptions {
  metrics?: MountOptions['metrics'];
}
