import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { createHttpServer } from 'express-mcp-router';
import type { Logger } from 'pino';
import { createApp } from './app.js';
import { ConfigError, keepsSessions, loadConfig, readValue, type Config } from './config.js';
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
    throw new ConfigError(`${error.message.split('. ')[0] ?? ''}; --help lists the options`, { cause: error });
  }
}

/** Returns a URL that a browser can open. 0.0.0.0 and :: mean "every address", so they become localhost. */
function urlOf({ address, family, port }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return `http://localhost:${port}`;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

async function listen(server: Server, { port, host }: Config): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explainListenError(error, port, host)));
    server.listen(port, host, resolve);
  });
  return urlOf(server.address() as AddressInfo);
}

function explainListenError(error: NodeJS.ErrnoException, port: number, host: string): Error {
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
  const { otlpEndpoint } = config;
  // Loaded only where it is used, as OpenTelemetry takes a while to load.
  const tracing = otlpEndpoint === undefined ? undefined : (await import('./tracing.js')).startTracing(otlpEndpoint);
  const { app, router } = await createApp(config, stores, logger, lostLines, tracing?.telemetry);
  const server = createHttpServer(app);
  server.keepAliveTimeout = config.keepAliveTimeoutMs;
  const url = await listen(server, config).catch(async (error: unknown) => {
    // Gives up the node's lease in the cluster. Other nodes would otherwise wait until it expires.
    await router.close();
    throw error;
  });
  stopOnSignals({ server, router, stores, tracing, logger, drainTimeoutMs: config.drainTimeoutMs });
  logger.info({ url, endpoint: `${url}/mcp`, stateless: !keepsSessions(config.router) }, 'listening');
  // This line is for people, so it goes to stderr: stdout has only JSON log lines.
  process.stderr.write(`\n  Open ${url}/ for an overview. The MCP endpoint is ${url}/mcp\n\n`);
}

main().catch((error: unknown) => {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`Cannot start: ${error.message}\n`);
  process.exitCode = 1;
});
