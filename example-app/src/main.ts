import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { createHttpServer } from 'express-mcp-router';
import type { Logger } from 'pino';
import { createApp } from './app.js';
import { ConfigError, loadConfig, readValue, type Config } from './config.js';
import { createLogger } from './log.js';
import { stopOnSignals } from './shutdown.js';
import { openStores, type Stores } from './stores.js';
import { APP, VARIABLES } from './variables.js';

function usage(): string {
  const width = Math.max(...VARIABLES.map(({ name }) => name.length));
  return [
    'Usage: npm start -- [--port N]',
    '',
    '  --port N  TCP port to listen on (default: PORT, else 3000)',
    '  --help    shows this',
    '',
    'Environment variables (defaults: see .env.example):',
    '',
    ...VARIABLES.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`),
    '',
  ].join('\n');
}

function readArguments(): { help: boolean; port: number | undefined } {
  try {
    const { values } = parseArgs({ options: { port: { type: 'string' }, help: { type: 'boolean' } } });
    return { help: values.help ?? false, port: readValue('--port', APP.port.kind, values.port) };
  } catch (error) {
    if (error instanceof ConfigError || !(error instanceof TypeError)) throw error;
    throw new ConfigError(`${error.message.split('. ')[0] ?? ''}; --help shows what there is`, { cause: error });
  }
}

/** An address as it stands in a URL; one that means "every address" is no place to go to. */
function urlOf({ address, family, port }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return `http://localhost:${port}`;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

async function listen(server: Server, { port, host }: Config): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(whyNot(error, port, host)));
    server.listen(port, host, resolve);
  });
  return urlOf(server.address() as AddressInfo);
}

function whyNot(error: NodeJS.ErrnoException, port: number, host: string): Error {
  const another = `choose another: npm start -- --port ${port < 65_535 ? port + 1 : 3000}, or PORT=… npm start`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new ConfigError(`port ${port} of ${host} is in use; ${another}`);
    case 'EACCES':
      return new ConfigError(`port ${port} may not be opened by this user; ${another}`);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new ConfigError(`HOST must be an address of this machine; got ${JSON.stringify(host)}`);
    default:
      return error;
  }
}

async function main(): Promise<void> {
  const { help, port } = readArguments();
  if (help) {
    process.stdout.write(usage());
    return;
  }
  const fromEnvironment = loadConfig(process.env);
  const config = { ...fromEnvironment, port: port ?? fromEnvironment.port };
  const { logger, lostLines } = createLogger(config.logLevel);
  for (const warning of config.warnings) logger.warn(warning);

  const stores = await openStores(config, logger);
  try {
    await serve(config, stores, logger, lostLines);
  } catch (error) {
    await stores.close();
    throw error;
  }
}

async function serve(config: Config, stores: Stores, logger: Logger, lostLines: () => number): Promise<void> {
  const { app, router } = createApp(config, stores, logger, lostLines);
  const server = createHttpServer(app);
  server.keepAliveTimeout = config.keepAliveTimeoutMs;
  const url = await listen(server, config).catch(async (error: unknown) => {
    // A node of a cluster would be waited for until its lease is over.
    await router.close();
    throw error;
  });
  stopOnSignals({ server, router, stores, logger, drainTimeoutMs: config.drainTimeoutMs });
  logger.info({ url, endpoint: `${url}/mcp`, stateless: config.router.stateless === true }, 'listening');
  // For people; the line above is for machines, which stdout is left to.
  process.stderr.write(`\n  Open ${url}/ to see what is here. The MCP endpoint is ${url}/mcp\n\n`);
}

main().catch((error: unknown) => {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`Cannot start: ${error.message}\n`);
  process.exitCode = 1;
});
