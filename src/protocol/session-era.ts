// The parts of the revisions with sessions that the router itself uses: schema/2025-11-25/schema.ts and its forerunners.

import { isObject } from '../runtime/checks.js';
import type { ClientCapabilities, Implementation } from './client.js';
import type { Params } from './messages.js';

type Test = (value: unknown) => boolean;

export const LATEST_PROTOCOL_VERSION = '2025-11-25';

/** The newest first. */
export const SUPPORTED_PROTOCOL_VERSIONS: readonly string[] = [
  LATEST_PROTOCOL_VERSION,
  '2025-06-18',
  '2025-03-26',
  '2024-11-05',
  '2024-10-07',
];

/** The version of a request that has no header for it (basic/transports, "Protocol Version Header"). */
export const DEFAULT_NEGOTIATED_PROTOCOL_VERSION = '2025-03-26';

/** The field of `_meta` that names a task of 2025-11-25. */
export const RELATED_TASK = 'io.modelcontextprotocol/related-task';

/** The levels of `notifications/message`, the least severe first (server/utilities/logging, "Log Levels"). */
export const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function isLogLevel(value: unknown): value is LogLevel {
  return (LOG_LEVELS as readonly unknown[]).includes(value);
}

/** The params of `initialize`. */
export interface InitializeRequestParams {
  protocolVersion: string;
  capabilities: ClientCapabilities;
  clientInfo: Implementation;
  _meta?: Params['_meta'];
}

/**
 * Whether these are the params of an `initialize`. The result equals that of the schema of SDK 1.32.2
 * (`InitializeRequestParamsSchema`), as its servers refuse all other params.
 */
export function isInitializeParams(value: unknown): value is InitializeRequestParams {
  return (
    isObject(value) && isText(value.protocolVersion) && isCapabilities(value.capabilities) && isName(value.clientInfo)
  );
}

/** The SDK takes arrays where an object has no known fields. */
const isAnyObject: Test = (value) => typeof value === 'object' && value !== null;
const isText: Test = (value) => typeof value === 'string';
const isFlag: Test = (value) => typeof value === 'boolean';
const isTheme: Test = (value) => value === 'light' || value === 'dark';

const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.every(test);

/** The SDK's schemas skip `__proto__`. */
const isRecord: Test = (value) =>
  isObject(value) && Object.entries(value).every(([name, entry]) => name === '__proto__' || isAnyObject(entry));

/** An object whose fields pass their tests. Each may be missing, and others are not looked at. */
const fieldsOf =
  (tests: Readonly<Record<string, Test>>): Test =>
  (value) =>
    isObject(value) && Object.entries(tests).every(([name, test]) => value[name] === undefined || test(value[name]));

const hasNameParts = fieldsOf({
  title: isText,
  icons: listOf((icon) => isObject(icon) && isText(icon.src) && isIcon(icon)),
  websiteUrl: isText,
  description: isText,
});
const isIcon = fieldsOf({ mimeType: isText, sizes: listOf(isText), theme: isTheme });
const isName: Test = (value) => isObject(value) && isText(value.name) && isText(value.version) && hasNameParts(value);

const isCapabilities = fieldsOf({
  experimental: isRecord,
  sampling: fieldsOf({ context: isAnyObject, tools: isAnyObject }),
  elicitation: fieldsOf({ form: fieldsOf({ applyDefaults: isFlag }), url: isAnyObject }),
  roots: fieldsOf({ listChanged: isFlag }),
  tasks: fieldsOf({
    list: isAnyObject,
    cancel: isAnyObject,
    requests: fieldsOf({
      sampling: fieldsOf({ createMessage: isAnyObject }),
      elicitation: fieldsOf({ create: isAnyObject }),
    }),
  }),
  extensions: isRecord,
});
