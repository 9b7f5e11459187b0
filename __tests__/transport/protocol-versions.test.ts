import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema, ResultSchema, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/sdk/types.js';
import { initializeBody, post } from '../support/harness.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, startScripted, type Method, type Scripted } from '../support/scripted.js';

let harness: Scripted;
afterEach(() => harness.close());

/** Uses all three ways of a message: progress and a question on the request's own stream, the answer in a POST. */
const work: Method = async (_params, { requestId, sendNotification, _meta }, server) => {
  const progressToken = _meta!.progressToken!;
  await sendNotification({ method: 'notifications/progress', params: { progressToken, progress: 1, total: 2 } });
  const { action } = await server.elicitInput(
    { message: 'Go on?', requestedSchema: { type: 'object', properties: {} } },
    { relatedRequestId: requestId },
  );
  return { action };
};

/** An SDK client that asks for a version of its own choice, as the SDK's always asks for the latest. */
async function clientOf(version: string): Promise<Client> {
  const client = new Client({ name: version, version: '1.0.0' }, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: {} }));
  const transport = new StreamableHTTPClientTransport(harness.url, {
    fetch: (url, init) => {
      const body = typeof init?.body === 'string' ? JSON.parse(init.body) : undefined;
      if (body?.method !== 'initialize') return fetch(url, init);
      body.params.protocolVersion = version;
      return fetch(url, { ...init, body: JSON.stringify(body) });
    },
  });
  await client.connect(transport);
  expect(transport.protocolVersion).toBe(version);
  return client;
}

describe.each(REPLIES)('every protocol version that the SDK supports (%s)', (_, options) => {
  test.each(SUPPORTED_PROTOCOL_VERSIONS)(
    '%s works from end to end: calls, progress, a question, DELETE',
    async (version) => {
      harness = await startScripted({ work }, options());
      const client = await clientOf(version);
      expect(harness.router.sessions.list()).toMatchObject([{ protocolVersion: version }]);
      const progress: unknown[] = [];
      const result = await client.request({ method: 'work' }, ResultSchema, {
        onprogress: (step) => progress.push(step),
      });
      expect(result).toEqual({ action: 'accept' });
      expect(progress).toEqual([{ progress: 1, total: 2 }]);
      await (client.transport as StreamableHTTPClientTransport).terminateSession();
      expect(harness.router.sessions.list()).toEqual([]);
      await client.close();
    },
  );

  test.each(SUPPORTED_PROTOCOL_VERSIONS)('%s is accepted in the header, whatever was negotiated', async (version) => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const headers = { ...session.headers, 'mcp-protocol-version': version };
    const response = await post(harness.url, { jsonrpc: '2.0', id: 1, method: 'ping' }, headers);
    expect(await answerOf(response)).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
  });

  test('an unsupported version is negotiated down', async () => {
    harness = await startScripted({}, options());
    const response = await post(harness.url, initializeBody(0, '1999-01-01'));
    expect(await answerOf(response)).toMatchObject({ result: { protocolVersion: SUPPORTED_PROTOCOL_VERSIONS[0] } });
  });
});

test.each(SUPPORTED_PROTOCOL_VERSIONS)('%s works without sessions', async (version) => {
  harness = await startScripted({ hello: () => ({ hello: true }) }, { stateless: true });
  const client = await clientOf(version);
  expect(await client.request({ method: 'hello' }, ResultSchema)).toEqual({ hello: true });
  await client.close();
});
