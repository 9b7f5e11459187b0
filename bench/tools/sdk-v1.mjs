import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import * as z from 'zod';
import { createFactory } from './factories.mjs';
import { INFO } from './info.mjs';

/** @type {import('./factories.mjs').Sdk} */
const SDK = {
  create: (options) => new McpServer(INFO, { capabilities: { logging: {} }, ...options }),
  z,
  validator: () => new AjvJsonSchemaValidator(),
  usualSchema: (fields) => fields,
  reporter: (extra) => (progress, total) =>
    extra.sendNotification({
      method: 'notifications/progress',
      params: { progressToken: extra._meta?.progressToken, progress, total },
    }),
};

/** The factory of a server on version 1 of the SDK. */
export const sdkFactory = (settings) => createFactory(SDK, settings);
