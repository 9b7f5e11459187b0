import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { accept, answerOutcomeUnknown, outcomeUnknownEvents } from '../../src/cluster/outcome-unknown.js';
import { errorResponse } from '../../src/errors.js';
import type { ForwardedRequest } from '../../src/endpoint/session/forwarding-port.js';
import type { Post } from '../../src/http/receive.js';
import { postOf } from '../support/posts.js';

const request = (post: Partial<Post> = {}): ForwardedRequest =>
  ({ post: { ...postOf(1), ...post } }) as unknown as ForwardedRequest;

/** The answer of a server that answers so. */
async function answerOf(answer: (res: ServerResponse) => void) {
  const server = createServer((_req, res) => answer(res)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [response] = (await once(get({ port: (server.address() as AddressInfo).port }), 'response')) as [
    IncomingMessage,
  ];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  server.close();
  return { status: response.statusCode, type: response.headers['content-type'], body };
}

const ERROR = JSON.stringify(errorResponse('outcomeUnknown', 1));

test('each request gets its error as an event, if its client accepts only events', async () => {
  const answer = await answerOf((res) => answerOutcomeUnknown(res, request({ ...postOf(1, 2), form: 'sse' })));
  expect(answer).toMatchObject({ status: 200, type: 'text/event-stream' });
  expect(answer.body.match(/^data: .*$/gm)).toEqual([
    `data: ${ERROR}`,
    `data: ${JSON.stringify(errorResponse('outcomeUnknown', 2))}`,
  ]);
});

test.each([
  ['one request', false, ERROR],
  ['a batch', true, `[${ERROR}]`],
])('%s gets JSON, if its client accepts that', async (_what, batch, json) => {
  const answer = await answerOf((res) => answerOutcomeUnknown(res, request({ batch })));
  expect(answer).toEqual({ status: 200, type: 'application/json', body: json });
});

test('a notification is accepted, and has no event', async () => {
  const notification = request(postOf());
  expect(await answerOf((res) => answerOutcomeUnknown(res, notification))).toMatchObject({ status: 202, body: '' });
  expect(outcomeUnknownEvents(notification)).toBeUndefined();
});

test('a reply that other middleware has begun stays as it is', async () => {
  const answer = await answerOf((res) => {
    res.writeHead(504);
    answerOutcomeUnknown(res, request());
    accept(res);
    res.end('late');
  });
  expect(answer).toMatchObject({ status: 504, body: 'late' });
});
