import { McpServer } from '@modelcontextprotocol/server';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/server/validators/ajv';
import * as z from 'zod';
import { createFactory } from './factories.mjs';
import { INFO } from './info.mjs';

/** @type {import('./factories.mjs').Sdk} */
const SDK = {
  create: (options) => new McpServer(INFO, { capabilities: { logging: {} }, ...options }),
  z,
  validator: () => new AjvJsonSchemaValidator(),
  usualSchema: (fields) => z.object(fields),
  reporter: (context) => (progress, total) =>
    context.mcpReq.notify({
      method: 'notifications/progress',
      params: { progressToken: context.mcpReq._meta?.progressToken, progress, total },
    }),
};

/** The factory of a server on version 2 of the SDK. */
export const v2Factory = (settings) => createFactory(SDK, settings);
