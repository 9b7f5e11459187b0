import { McpServer, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/server/validators/ajv';
import * as z from 'zod';
import { createFactory } from './factories.mjs';
import { INFO } from './info.mjs';

const MODERN_VERSION = '2026-07-28';

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

/** The same, for a transport that the server is connected to directly: `createMcpHandler` alone adds this version itself. */
export const modernFactory = (settings) => {
  const supportedProtocolVersions = [MODERN_VERSION, ...SUPPORTED_PROTOCOL_VERSIONS];
  return createFactory(
    { ...SDK, create: (options) => SDK.create({ supportedProtocolVersions, ...options }) },
    settings,
  );
};
