import { startApp } from './start.js';

// An app may have installed only one version of the SDK (docs/two-eras.md, "Servers of SDK v2"). Node says this of the other.
jest.mock('@modelcontextprotocol/server', () => {
  throw Object.assign(new Error("Cannot find package '@modelcontextprotocol/server'"), {
    code: 'ERR_MODULE_NOT_FOUND',
  });
});

it('starts without version 2 of the SDK, and serves', async () => {
  const app = await startApp();
  const { client } = await app.connect();
  expect((await client.listTools()).tools).not.toEqual([]);
  await app.close();
});

it('says which package MCP_SDK=v2 needs when it is not installed', async () => {
  await expect(startApp({ MCP_SDK: 'v2' })).rejects.toThrow(
    'MCP_SDK=v2 needs a package: npm install @modelcontextprotocol/server',
  );
});
