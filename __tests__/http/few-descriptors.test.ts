import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { echoCall, JSON_HEADERS, openSession } from '../support/harness.js';
import { HttpProcess } from '../support/http-process.js';
import { bundle } from '../support/program.js';
import { RawSocket } from '../support/raw-http.js';
import { until } from '../support/waiting.js';

// Linux, accept(2): EMFILE where the process may have no more descriptors.

/** Enough for Node to load its modules, which it opens many at once. */
const DESCRIPTORS = 400;

let node: HttpProcess | undefined;
const sockets: RawSocket[] = [];
const opened = async (): Promise<RawSocket> => {
  const socket = await RawSocket.open(node!.port);
  sockets.push(socket);
  return socket;
};

beforeAll(async () => {
  const file = bundle('__tests__/http/few-descriptors.ts');
  // Node raises the soft limit to the hard one; a shell sets both.
  const limited = ['-c', `ulimit -n ${DESCRIPTORS}; exec "$0" "$@"`, process.execPath];
  node = await HttpProcess.start('sh', [...limited, file]);
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  return node?.kill();
});

test('a router whose process has no descriptor left serves the connections that it has, and new ones once some are free', async () => {
  const id = await openSession(node!.url);
  const kept = await opened();
  const headers = Object.entries({ ...JSON_HEADERS, 'mcp-session-id': id });
  const call = async () => {
    const { status, body } = await kept.exchange('POST', '/mcp', headers, JSON.stringify(echoCall(1, 'hello')));
    return [status, body.includes('hello')];
  };
  const descriptors = async () => (await kept.exchange('GET', '/descriptors')).body;
  expect(await descriptors()).toBe('"free"');

  await until('no descriptor is left', async () => {
    await Promise.all(Array.from({ length: DESCRIPTORS }, () => opened().catch(() => undefined)));
    return (await descriptors()) === '"EMFILE"';
  });
  expect(await call()).toEqual([200, true]);

  for (const socket of sockets.filter((each) => each !== kept)) socket.destroy();
  await until('descriptors are free', async () => (await descriptors()) === '"free"');
  const client = new Client({ name: 'late', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(node!.url));
  const { content } = await client.callTool({ name: 'echo', arguments: { text: 'late' } });
  expect(content).toEqual([{ type: 'text', text: 'late' }]);
  await client.close();
  expect(await call()).toEqual([200, true]);
  expect(node!.child.exitCode).toBeNull();
});
