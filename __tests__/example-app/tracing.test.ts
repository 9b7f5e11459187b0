import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { APP, bundle } from '../support/program.js';

/** The bodies that the collector got, by path. */
const received: [path: string | undefined, body: string][] = [];
let collector: Server;

beforeAll(async () => {
  program = bundle('__tests__/example-app/tracing-program.ts', { ...APP, format: 'cjs' });
  collector = createServer((req, res) => {
    void text(req).then((body) => {
      received.push([req.url, body]);
      res.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(collector, 'listening');
});
afterAll(() => {
  collector.closeAllConnections();
  collector.close();
});

let program: string;

async function useAndStop(endpoint: string): Promise<void> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, endpoint]);
  expect(stdout).toContain('traced');
}

test.each(['', '/', '/otlp'])(
  'the spans of a call have reached a collector at the path "%s" when the app has stopped',
  async (path) => {
    received.length = 0;
    const { port } = collector.address() as AddressInfo;
    await useAndStop(`http://127.0.0.1:${port}${path}`);
    expect(new Set(received.map(([to]) => to))).toEqual(new Set([`${path.replace(/\/$/, '')}/v1/traces`]));
    const spans = received.map(([, body]) => body).join();
    for (const name of ['initialize', 'tools/call echo']) expect(spans).toContain(`"name":"${name}"`);
  },
);

test('a collector that is not there costs nothing but the spans', async () => {
  await useAndStop('http://127.0.0.1:1');
});
