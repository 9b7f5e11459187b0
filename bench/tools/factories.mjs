import { tools } from './tools.mjs';

/**
 * How a server is built for each session. `usual`: everything new, like the SDK's examples. `cheap`: schemas and
 * JSON schema validator shared by all sessions, as our documentation advises. `low-level`: the SDK's `Server` instead of its
 * `McpServer`, with handlers that all sessions share.
 *
 * @typedef {'usual' | 'cheap' | 'low-level'} FactoryStyle
 *
 * @typedef {object} Sdk What differs between the versions of the SDK.
 * @property {(options: object) => any} create Creates a server without tools.
 * @property {any} z
 * @property {() => object} validator Creates a JSON schema validator.
 * @property {(fields: Record<string, any>) => any} usualSchema The `inputSchema` of the SDK's examples.
 * @property {(context: any) => import('./tools.mjs').Report} reporter
 * @property {(tools: readonly import('./tools.mjs').Tool[]) => () => any} [lowLevel] The factory of low-level servers.
 */

/**
 * @param {Sdk} sdk
 * @param {{ tools: number, factory: FactoryStyle }} settings
 * @returns {() => any} The factory: a new server each time.
 */
export function createFactory(sdk, settings) {
  const offered = tools(settings.tools);
  if (settings.factory === 'low-level') return sdk.lowLevel(offered);
  const register = (server, tool, inputSchema) =>
    server.registerTool(tool.name, { description: tool.description, inputSchema }, async (input, context) => ({
      content: [{ type: 'text', text: await tool.run(input, sdk.reporter(context)) }],
    }));

  if (settings.factory === 'usual') {
    return () => {
      const server = sdk.create({});
      for (const tool of offered) register(server, tool, sdk.usualSchema(tool.shape(sdk.z)));
      return server;
    };
  }

  const jsonSchemaValidator = sdk.validator();
  const schemas = offered.map((tool) => sdk.z.object(tool.shape(sdk.z)));
  return () => {
    const server = sdk.create({ jsonSchemaValidator });
    offered.forEach((tool, index) => register(server, tool, schemas[index]));
    return server;
  };
}
