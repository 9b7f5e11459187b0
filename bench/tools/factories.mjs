import { tools } from './tools.mjs';

/**
 * How a server is built for each session. `usual`: as the SDK's examples do, all anew. `cheap`: as our documentation
 * advises, the schemas once for all sessions, and one JSON schema validator. `low-level`: the SDK's `Server` instead of its
 * `McpServer`, with handlers that all sessions share.
 *
 * @typedef {'usual' | 'cheap' | 'low-level'} FactoryStyle
 *
 * @typedef {object} Sdk What differs between the versions of the SDK.
 * @property {(options: object) => any} create Makes a server that has no tools yet.
 * @property {any} z
 * @property {() => object} validator Makes a JSON schema validator.
 * @property {(fields: Record<string, any>) => any} usualSchema What its examples pass as `inputSchema`.
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
