import { HttpProcess } from '../support/http-process.js';
import { post } from '../support/harness.js';
import { bundle } from '../support/program.js';
import { answerOf, RawSession } from '../support/raw-session.js';
import { RedisServer } from '../support/redis-server.js';

// docs/sessions.md: a `state.set` that has resolved is in the store. kill -9 runs nothing of the process any more.

let redis: RedisServer;
let node: HttpProcess;
let file: string;
const startNode = async () => {
  node = await HttpProcess.start(process.execPath, [file, redis.url]);
};
beforeAll(async () => {
  redis = await RedisServer.start();
  file = bundle('__tests__/sessions/killed-set.ts');
  await startNode();
}, 300_000);
afterAll(async () => {
  await node.kill();
  await redis.stop();
});

/** Calls a tool at the process that runs now, in the session that an earlier one may have opened. */
const call = async ({ headers, version }: RawSession, name: string, input: object = {}) => {
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: input } };
  return answerOf(await post(node.url, message, { ...headers, 'mcp-protocol-version': version }));
};
const text = (value: string) => ({ result: { content: [{ type: 'text', text: value }] } });

test.each([
  ['after the call', ['old', 'new']],
  ['before the write', ['old']],
  ['during the write', ['old', 'new']],
  ['after the write', ['new']],
  ['after the answer', ['new']],
])('kill -9 of a process %s of state.set: the restored session has %j, and goes on', async (dies, values) => {
  const session = await RawSession.open(node.url);
  expect(await call(session, 'set', { value: 'old', dies: 'never' })).toMatchObject(text('set'));
  await expect(call(session, 'set', { value: 'new', dies })).rejects.toThrow(/fetch failed|terminated/);
  expect(await node.exited).toBe('SIGKILL');

  await startNode();
  const { result } = (await call(session, 'get'))!;
  expect(values.map(text)).toContainEqual({ result });
  expect(await call(session, 'set', { value: 'newer', dies: 'never' })).toMatchObject(text('set'));
  expect(await call(session, 'get')).toMatchObject(text('newer'));
});
