import pinoHttp from 'pino-http';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { silentLogger } from './silent-logger.mjs';

/**
 * Metrics and logs as one adds them to an app of one's own: a gauge of sessions, a histogram of requests by method, one log
 * line for each request. The line says as much as the router's, so that neither writes less than the other.
 */
export function observeByHand(app, sessions) {
  const registers = [new Registry()];
  collectDefaultMetrics({ register: registers[0] });
  new Gauge({
    name: 'mcp_sessions_active',
    help: 'Open sessions',
    registers,
    collect() {
      this.set(sessions.size);
    },
  });
  const duration = new Histogram({
    name: 'mcp_request_duration_seconds',
    help: 'Duration of requests',
    labelNames: ['method', 'status'],
    registers,
  });

  app.use(
    pinoHttp({
      logger: silentLogger(),
      serializers: {
        req: ({ method, url, remoteAddress }) => ({ method, url, remoteAddress }),
        res: ({ statusCode }) => ({ statusCode }),
      },
      customProps: (req) => ({ session: req.headers['mcp-session-id']?.slice(0, 8), method: req.body?.method }),
    }),
  );
  app.use((req, res, next) => {
    const end = duration.startTimer();
    res.once('finish', () => end({ method: req.body?.method ?? req.method, status: res.statusCode }));
    next();
  });
  app.get('/metrics', async (_req, res) => res.type('text/plain').send(await registers[0].metrics()));
}
