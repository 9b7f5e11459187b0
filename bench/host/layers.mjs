const SDK = /^(@modelcontextprotocol\/|zod|ajv|fast-uri$|json-schema-traverse$|fast-deep-equal$|@hono\/)/;

/**
 * The layers of a server. A function's own time counts for its layer, without the functions that it calls.
 *
 * @typedef {object} Layer
 * @property {string} name
 * @property {string} title
 */

/** @type {readonly Layer[]} */
export const LAYERS = [
  { name: 'ours', title: 'the router' },
  { name: 'sdk', title: 'SDK, zod, ajv, the tools' },
  { name: 'express', title: 'Express and other packages' },
  { name: 'node', title: "Node's JavaScript" },
  { name: 'native', title: 'native code of Node and V8, system calls' },
  { name: 'gc', title: 'garbage collection' },
];

/**
 * @param {{ functionName: string, url: string }} frame
 * @returns {string | undefined} Undefined when the process was idle.
 */
export function layerOf({ functionName, url }) {
  if (functionName === '(idle)') return undefined;
  if (functionName === '(garbage collector)') return 'gc';
  if (url.startsWith('node:')) return 'node';
  if (!url.startsWith('file:') && !url.startsWith('/')) return 'native';
  const name = url.match(/.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1];
  if (name === 'express-mcp-router') return 'ours';
  // Code outside of packages: the tools, and the wiring that the SDK's example has instead of a router.
  if (name === undefined || SDK.test(name)) return 'sdk';
  return 'express';
}
