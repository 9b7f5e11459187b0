import {
  mcpErrorHandler,
  mcpRouter,
  type McpRouter,
  type McpRouterOptions,
  type ServerContext,
} from 'express-mcp-router';
import { adminPage } from 'express-mcp-router/admin';
import express, { type Express } from 'express';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Counter, Registry } from 'prom-client';
import { inVariables, keepsSessions, type Config } from './config.js';
import { createHooks } from './hooks.js';
import { operatorsOnly } from './operators.js';
import { renderPage } from './page.js';
import { loadServers } from './sdk.js';
import type { Stores } from './stores.js';

/** Gauges of prom-client 15 that end in `_total` as only counters should: `promtool check metrics` objects. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Creates a registry with prom-client's default metrics of the process. */
function processMetrics(lostLines: () => number): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  new Counter({
    name: 'app_log_lines_lost_total',
    help: 'Log lines that stdout did not take.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(lostLines());
    },
  });
  return registry;
}

/**
 * Creates the app, without listening.
 *
 * @throws ConfigError when options of the router contradict each other, or the chosen version of the SDK is not installed.
 */
export async function createApp(
  config: Config,
  { store, eventStore, cluster }: Stores,
  logger: Logger,
  lostLines: () => number = () => 0,
  telemetry?: McpRouterOptions['telemetry'],
): Promise<{ app: Express; router: McpRouter }> {
  const metrics = { registry: processMetrics(lostLines), route: false };
  const hasStore = store !== undefined || cluster !== undefined;
  const { build, perRequest } = await loadServers(config);
  const serverFactory = (context: ServerContext) => build(context, hasStore);
  const router = inVariables(() =>
    mcpRouter({ ...config.router, perRequest, serverFactory, store, eventStore, cluster, logger, metrics, telemetry }),
  );

  const app = express();
  app.disable('x-powered-by');
  app.use('/mcp', router, mcpErrorHandler());
  app.get('/metrics', router.metrics);
  app.get('/healthz', router.health);
  app.get('/readyz', router.ready);
  const operators = operatorsOnly(config.adminToken, config.router.allowedHosts);
  app.use('/admin', operators, adminPage(router, { authorize: () => true }));
  app.use('/hooks', createHooks(router, operators));
  app.get('/', (req, res) => {
    res
      .set({ 'Cache-Control': 'no-store', 'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'" })
      .type('html')
      .send(
        renderPage({
          scheme: req.protocol,
          host: req.headers.host,
          stateless: !keepsSessions(config.router),
          perRequest: config.router.perRequest !== false,
          sessions: router.sessions.stats(),
        }),
      );
  });
  app.use((_req, res) => {
    res.status(404).type('text').send('Not found. The page at / lists the paths.\n');
  });
  return { app, router };
}
