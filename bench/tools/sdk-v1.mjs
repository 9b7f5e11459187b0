import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';
import { createFactory } from './factories.mjs';
import { INFO } from './info.mjs';

const reporter = (extra) => (progress, total) =>
  extra.sendNotification({
    method: 'notifications/progress',
    params: { progressToken: extra._meta?.progressToken, progress, total },
  });

/** The factory with the smallest sessions, as our documentation advises. */
function lowLevel(offered) {
  const jsonSchemaValidator = new AjvJsonSchemaValidator();
  const tools = new Map(offered.map((tool) => [tool.name, { ...tool, schema: z.object(tool.shape(z)) }]));
  const listed = [...tools.values()].map(({ name, description, schema }) => {
    return { name, description, inputSchema: z.toJSONSchema(schema) };
  });
  const list = () => ({ tools: listed });
  const call = async ({ params }, extra) => {
    const tool = tools.get(params.name);
    if (tool === undefined) throw new Error(`there is no tool ${params.name}`);
    return { content: [{ type: 'text', text: await tool.run(tool.schema.parse(params.arguments), reporter(extra)) }] };
  };
  return () => {
    const server = new Server(INFO, { capabilities: { logging: {}, tools: {} }, jsonSchemaValidator });
    server.setRequestHandler(ListToolsRequestSchema, list);
    server.setRequestHandler(CallToolRequestSchema, call);
    return server;
  };
}

/** @type {import('./factories.mjs').Sdk} */
const SDK = {
  create: (options) => new McpServer(INFO, { capabilities: { logging: {} }, ...options }),
  z,
  validator: () => new AjvJsonSchemaValidator(),
  usualSchema: (fields) => fields,
  reporter,
  lowLevel,
};

/** The factory of a server on version 1 of the SDK. */
export const sdkFactory = (settings) => createFactory(SDK, settings);
