import type { Server } from 'node:http';
import express from 'express';
import request from 'supertest';
import { mcpRouter } from '../../src/index.js';
import { echoCall, echoServer, initializeBody, JSON_HEADERS, messagesOf } from '../support/harness.js';

// What someone who installed the package tests of an app of their own. It closes no router: nothing of one may keep Jest waiting.

const app = express().use('/mcp', mcpRouter({ serverFactory: echoServer, logger: false }));

const send = (to: typeof app | Server, body: object, headers: object = {}) =>
  request(to)
    .post('/mcp')
    .set({ ...JSON_HEADERS, ...headers })
    .send(body);

test('a session is opened, and its tool is called', async () => {
  const opened = await send(app, initializeBody()).expect(200);
  const headers = { 'mcp-session-id': opened.headers['mcp-session-id'] as string };
  const called = await send(app, echoCall(1, 'hello'), headers).expect(200);
  expect(messagesOf(called.text)).toMatchObject([{ id: 1, result: { content: [{ text: 'hello' }] } }]);
});

test('an unknown session is refused', async () => {
  await send(app, echoCall(1, 'hello'), { 'mcp-session-id': 'unknown' }).expect(404);
});
