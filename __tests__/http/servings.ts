import http, { type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Express as App, RequestHandler } from 'express';
import { createHttpServer, mcpRouter } from '../../src/index.js';
import type { Express } from '../support/expresses.js';
import { echoServer, JSON_HEADERS, openSession } from '../support/harness.js';
import { RawSocket, type RawResponse } from '../support/raw-http.js';
import { ping } from '../support/target.js';

type Serving = (app: App, express: Express) => http.Server;

/** The ways to serve an app. A mounted app has prototypes of its own, which Express sets after those of the outer app. */
export const SERVINGS: readonly [string, Serving][] = [
  ['app.listen', (app) => http.createServer(app as RequestListener)],
  ['createHttpServer', (app) => createHttpServer(app as RequestListener)],
  [
    'createHttpServer and a request class of the user',
    (app) => createHttpServer(app as RequestListener, { IncomingMessage: class extends http.IncomingMessage {} }),
  ],
  ['createHttpServer, in a mounted app', (app, express) => createHttpServer(express().use(app) as RequestListener)],
];

export interface Served {
  /** Sends a ping in the same session, over the same socket. */
  ping(): Promise<RawResponse>;
  stop(): Promise<void>;
}

/** Opens a session of an app with middleware before the router. */
export async function serve(express: Express, serving: Serving, middleware: RequestHandler): Promise<Served> {
  const router = mcpRouter({ serverFactory: echoServer, logger: false });
  const app = express();
  app.use(middleware);
  app.use('/mcp', router);
  const server = serving(app, express);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const socket = await RawSocket.open(port);
  const session = await openSession(new URL(`http://127.0.0.1:${port}/mcp`));
  const headers = Object.entries({ ...JSON_HEADERS, 'mcp-session-id': session });
  return {
    ping: () => socket.exchange('POST', '/mcp', headers, JSON.stringify(ping(1))),
    async stop() {
      socket.destroy();
      await router.close();
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
