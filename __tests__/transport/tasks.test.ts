import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { start, type Harness } from '../support/harness.js';
import { REPLIES } from '../support/scripted.js';
import { soon } from '../support/waiting.js';

// Spec 2025-11-25, basic/utilities/tasks: a task that needs input is `input_required`, and its questions come over the stream of
// `tasks/result`. The SDK binds a task to its session by the transport's `sessionId`.

let harness: Harness;
let tasks: InMemoryTaskStore;
let clients: Client[];
beforeEach(() => {
  tasks = new InMemoryTaskStore();
  clients = [];
});
afterEach(async () => {
  tasks.cleanup();
  await Promise.all(clients.map((client) => client.close()));
  await harness.close();
});

/** Its tool `greet` is a task which asks for a name, and greets it. All servers share one store of tasks. */
function greeter(): McpServer {
  const capabilities = { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } };
  const server = new McpServer(
    { name: 'greeter', version: '1.0.0' },
    { capabilities, taskStore: tasks, taskMessageQueue: new InMemoryTaskMessageQueue() },
  );
  const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } };
  const params = { mode: 'form' as const, message: 'Who are you?', requestedSchema };
  server.experimental.tasks.registerToolTask(
    'greet',
    { execution: { taskSupport: 'required' } },
    {
      createTask: async ({ taskStore }) => {
        const task = await taskStore.createTask({ ttl: 60_000, pollInterval: 5 });
        const greet = async () => {
          await taskStore.updateTaskStatus(task.taskId, 'input_required');
          const answer = await server.server.elicitInput(params, { relatedTask: { taskId: task.taskId } });
          const text = `Hello, ${String(answer.content?.name)}`;
          await taskStore.storeTaskResult(task.taskId, 'completed', { content: [{ type: 'text', text }] });
        };
        void greet();
        return { task };
      },
      getTask: (extra) => extra.taskStore.getTask(extra.taskId),
      getTaskResult: async (extra) => (await extra.taskStore.getTaskResult(extra.taskId)) as never,
    },
  );
  return server;
}

async function connect(name: string): Promise<Client> {
  const client = new Client({ name, version: '1.0.0' }, { capabilities: { elicitation: { form: {} } } });
  clients.push(client);
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name } }));
  await client.connect(new StreamableHTTPClientTransport(harness.url));
  await client.listTools();
  return client;
}

/** What a client hears of its task, to the end. */
async function greet(client: Client) {
  const heard: string[] = [];
  let taskId = '';
  const messages = client.experimental.tasks.callToolStream({ name: 'greet' }, CallToolResultSchema, {
    task: { ttl: 60_000 },
  });
  for await (const message of messages) {
    if (message.type === 'error') throw message.error;
    if (message.type === 'taskCreated') ({ taskId } = message.task);
    heard.push(message.type === 'taskStatus' ? message.task.status : message.type);
    if (message.type === 'result') return { taskId, heard, result: message.result };
  }
  throw new Error('the task ended without a result');
}

describe.each(REPLIES)('a tool that is a task (%s)', (_, options) => {
  test('asks its client for input while it runs, uses the answer in its result, and is invisible to other sessions', async () => {
    harness = await start({ serverFactory: greeter, ...options() });
    const [ada, grace] = [await connect('Ada'), await connect('Grace')];
    const [first, second] = await soon('both results', Promise.all([greet(ada), greet(grace)]));
    expect(first.result.content).toEqual([{ type: 'text', text: 'Hello, Ada' }]);
    expect(second.result.content).toEqual([{ type: 'text', text: 'Hello, Grace' }]);
    expect(first.heard).toEqual(expect.arrayContaining(['taskCreated', 'input_required', 'result']));
    const { tasks: listed } = await ada.experimental.tasks.listTasks();
    expect(listed.map(({ taskId, status }) => [taskId, status])).toEqual([[first.taskId, 'completed']]);
    await expect(grace.experimental.tasks.getTask(first.taskId)).rejects.toThrow('Task not found');
    expect(harness.router.sessions.list().map(({ requests }) => requests)).toEqual([0, 0]);
  });
});
