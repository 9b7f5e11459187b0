import type { IncomingHttpHeaders } from 'node:http';
import { isObject } from '../../runtime/checks.js';
import type { Fields } from '../../transport/jsonrpc.js';
import { decodeHeader } from '../../protocol/encoded-header.js';

/** A parameter of a tool that its clients mirror into a header. */
export interface ParamHeader {
  /** In lower case, as Node names headers. */
  readonly header: string;
  /** The names that lead to the argument. */
  readonly path: readonly string[];
}

/** RFC 9110, 5.6.2. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
const TYPES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);
const DECIMAL = /^-?\d+(?:\.\d+)?$/;
/** A schema may be any JSON that an app wrote. */
const MAX_DEPTH = 32;

/**
 * The mirrored parameters that the schema of a tool declares by `x-mcp-header` (MCP 2026-07-28, basic/transports/streamable-http,
 * "Schema Extension"). None when a declaration is invalid or doubled: no client may use that tool.
 */
export function paramHeadersOf(inputSchema: unknown): readonly ParamHeader[] {
  const found = new Map<string, ParamHeader>();
  return collect(inputSchema, [], found) ? [...found.values()] : [];
}

/** Whether the headers repeat the arguments of a call. */
export function mirrorArguments(
  headers: IncomingHttpHeaders,
  declared: readonly ParamHeader[],
  args: unknown,
): boolean {
  return declared.every(({ header, path }) => mirrors(headers[header], valueAt(args, path)));
}

/** False when a declaration is invalid. */
function collect(schema: unknown, path: readonly string[], found: Map<string, ParamHeader>): boolean {
  if (!isObject(schema) || !isObject(schema.properties) || path.length === MAX_DEPTH) return true;
  return Object.entries(schema.properties).every(([name, property]) => {
    if (!isObject(property)) return true;
    const inner = [...path, name];
    if ('x-mcp-header' in property && !add(property, inner, found)) return false;
    return collect(property, inner, found);
  });
}

function add(property: Fields, path: readonly string[], found: Map<string, ParamHeader>): boolean {
  const { 'x-mcp-header': name, type } = property;
  if (typeof name !== 'string' || !TOKEN.test(name) || !TYPES.has(type)) return false;
  const header = `mcp-param-${name.toLowerCase()}`;
  if (found.has(header)) return false;
  found.set(header, { header, path });
  return true;
}

function valueAt(args: unknown, path: readonly string[]): unknown {
  let value = args;
  for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return value;
}

function mirrors(header: string | string[] | undefined, value: unknown): boolean {
  const text = typeof header === 'string' ? decodeHeader(header) : undefined;
  switch (typeof value) {
    case 'string':
      return text === value;
    case 'boolean':
      return text === String(value);
    case 'number':
      return text !== undefined && DECIMAL.test(text) && Number(text) === value;
    default:
      // An argument that is missing or null has no header. Of any other, the tool's own schema decides.
      return header === undefined;
  }
}
