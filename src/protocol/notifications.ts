import { isObject } from '../runtime/checks.js';

// The notifications that need a capability of the server. Both eras have the same names. A client of MCP 2026-07-28 gets log messages
// only for its own requests (docs/notify.md).

export const TOOLS_CHANGED = 'notifications/tools/list_changed';
export const PROMPTS_CHANGED = 'notifications/prompts/list_changed';
export const RESOURCES_CHANGED = 'notifications/resources/list_changed';
export const RESOURCE_UPDATED = 'notifications/resources/updated';
export const LOG_MESSAGE = 'notifications/message';

/**
 * The capability that a server declares for each, and the field of it that must be true (spec 2025-11-25, "Capabilities" of
 * server/tools, server/prompts, server/resources and server/utilities/logging).
 */
const CAPABILITIES = new Map<string, readonly [name: string, field?: string]>([
  [TOOLS_CHANGED, ['tools', 'listChanged']],
  [PROMPTS_CHANGED, ['prompts', 'listChanged']],
  [RESOURCES_CHANGED, ['resources', 'listChanged']],
  [RESOURCE_UPDATED, ['resources', 'subscribe']],
  [LOG_MESSAGE, ['logging']],
]);

/** Whether a server with the capabilities may send such a notification. */
export function isDeclared(method: string, capabilities: Readonly<Record<string, unknown>>): boolean {
  const needed = CAPABILITIES.get(method);
  if (needed === undefined) return true;
  const [name, field] = needed;
  const capability = capabilities[name];
  return isObject(capability) && (field === undefined || capability[field] === true);
}

/** The notifications that a server with the capabilities must not send. */
export function undeclaredBy(capabilities: unknown): readonly string[] {
  const declared = isObject(capabilities) ? capabilities : {};
  return [...CAPABILITIES.keys()].filter((method) => !isDeclared(method, declared));
}
