import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import express from 'express';
import serverless from 'serverless-http';
import { createHttpsServer, mcpRouter } from '../../src/index.js';
import { echoCall, echoServer, initializeBody, JSON_HEADERS, messagesOf } from '../support/harness.js';

test('mutual TLS: the app names the principal by the certificate of the client', async () => {
  const key = readFileSync('__tests__/support/tls/localhost-key.pem');
  const cert = readFileSync('__tests__/support/tls/localhost-cert.pem');
  const router = mcpRouter({
    serverFactory: echoServer,
    logger: false,
    principal: (req) => (req as unknown as { principalOfPeer: string }).principalOfPeer,
  });
  const app = express().use(
    '/mcp',
    (req, _res, next) => {
      const { socket } = req;
      if (!(socket instanceof TLSSocket)) throw new Error('no TLS');
      const { subject } = socket.getPeerCertificate();
      Object.assign(req, { principalOfPeer: subject.CN });
      next();
    },
    router,
  );
  const server = createHttpsServer(app, { key, cert, ca: cert, requestCert: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const send = (credentials: object): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const options = { port, host: 'localhost', path: '/mcp', method: 'POST', headers: JSON_HEADERS, agent: false };
      const request = https.request({ ...options, family: 4, ca: cert, ...credentials } as https.RequestOptions);
      request.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject);
      request.end(JSON.stringify(initializeBody()));
    });
  expect(await send({ key, cert })).toBe(200);
  expect(router.sessions.list().map(({ principal }) => principal)).toEqual(['localhost']);
  await expect(send({})).rejects.toThrow();
  await router.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test.each([true, false])('a serverless adapter serves a stateless router (enableJsonResponse: %p)', async (json) => {
  const router = mcpRouter({ serverFactory: echoServer, logger: false, stateless: true, enableJsonResponse: json });
  const handle = serverless(express().use('/mcp', router) as never) as (
    event: object,
    context: object,
  ) => Promise<{ statusCode: number; body: string }>;
  const event = {
    version: '2.0',
    rawPath: '/mcp',
    headers: { ...JSON_HEADERS, host: 'localhost' },
    requestContext: { http: { method: 'POST', path: '/mcp', sourceIp: '127.0.0.1' } },
    body: JSON.stringify(echoCall(1, 'hello')),
    isBase64Encoded: false,
  };
  const { statusCode, body } = await handle(event, {});
  expect(statusCode).toBe(200);
  const [answer] = json ? [JSON.parse(body) as unknown] : messagesOf(body);
  expect(answer).toMatchObject({ id: 1, result: { content: [{ type: 'text', text: 'hello' }] } });
  await router.close();
});
