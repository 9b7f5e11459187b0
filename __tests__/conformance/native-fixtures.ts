import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  createRequestStateCodec,
  inputRequired,
  inputResponse,
  McpServer,
  SUPPORTED_PROTOCOL_VERSIONS,
  type CallToolResult,
  type ClientCapabilities,
  type InputRequest,
  type InputRequiredResult,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import { registerContent, registerStaticResources } from './fixtures.js';

// What the suite's scenarios of MCP 2026-07-28 call, for a server of the SDK's version 2 that serves that revision itself.

type Answers = Readonly<Record<string, string>>;
type Property = { readonly type: 'string' } | { readonly type: 'boolean' };
type Questions = Readonly<Record<string, InputRequest>>;

const STEP_MS = 50;
const codec = createRequestStateCodec<Answers>({ key: randomBytes(32) });

const text = (value: string) => ({ type: 'text' as const, text: value });
const answer = (value: string): CallToolResult => ({ content: [text(value)] });

function elicit(message: string, field: string, property: Property = { type: 'string' }): InputRequest {
  const requestedSchema = { type: 'object' as const, properties: { [field]: property }, required: [field] };
  return inputRequired.elicit({ message, requestedSchema });
}

function sample(question: string, maxTokens: number): InputRequest {
  return inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens });
}

/** The answer to a question as one string; undefined when the client gave none. */
function answerTo(key: string, { mcpReq }: ServerContext): string | undefined {
  const given = inputResponse(mcpReq.inputResponses, key);
  if (given.kind === 'roots') return given.roots.map(({ uri }) => uri).join();
  if (given.kind === 'sampling') return JSON.stringify(given.result.content);
  return given.kind === 'elicit' && given.content !== undefined ? Object.values(given.content).join() : undefined;
}

/** Asks each round of questions that is not answered yet. The answers of earlier rounds are in the state. */
async function ask(ctx: ServerContext, ...rounds: Questions[]): Promise<Answers | InputRequiredResult> {
  const answers: Record<string, string> = { ...ctx.mcpReq.requestState<Answers>() };
  for (const questions of rounds) {
    for (const key of Object.keys(questions)) {
      const given = answerTo(key, ctx);
      if (given !== undefined) answers[key] = given;
    }
    const open = Object.entries(questions).filter(([key]) => answers[key] === undefined);
    if (open.length === 0) continue;
    return inputRequired({ inputRequests: Object.fromEntries(open), requestState: await codec.mint(answers) });
  }
  return answers;
}

const isAsking = (asked: Answers | InputRequiredResult): asked is InputRequiredResult => 'resultType' in asked;

function capable(ctx: ServerContext): Questions {
  const envelope: Readonly<Record<string, ClientCapabilities | undefined>> = ctx.mcpReq.envelope ?? {};
  const { elicitation, sampling } = envelope['io.modelcontextprotocol/clientCapabilities'] ?? {};
  if (elicitation !== undefined) return { user_name: elicit('What is your name?', 'name') };
  return sampling === undefined ? {} : { greeting: sample('Generate a greeting', 50) };
}

function registerAskingFixtures(server: McpServer): void {
  const name = elicit('What is your name?', 'name');
  const greeting = sample('Generate a greeting', 50);
  const confirm = elicit('Please confirm', 'ok', { type: 'boolean' });
  const tools: Record<string, (ctx: ServerContext) => Questions[]> = {
    test_input_required_result_elicitation: () => [{ user_name: name }],
    test_input_required_result_sampling: () => [{ capital_question: sample('What is the capital of France?', 100) }],
    test_input_required_result_list_roots: () => [{ client_roots: inputRequired.listRoots() }],
    test_input_required_result_request_state: () => [{ confirm }],
    test_input_required_result_tampered_state: () => [{ confirm }],
    test_input_required_result_multiple_inputs: () => [
      { user_name: name, greeting, client_roots: inputRequired.listRoots() },
    ],
    test_input_required_result_multi_round: () => [
      { step1: elicit('Step 1: What is your name?', 'name') },
      { step2: elicit('Step 2: What is your favorite color?', 'color') },
    ],
    test_input_required_result_capabilities: (ctx) => [capable(ctx)],
    test_missing_capability: () => [{ greeting }],
    test_streaming_elicitation: () => [{ user_name: name }],
  };
  for (const [tool, questions] of Object.entries(tools)) {
    server.registerTool(tool, { description: `Asks its client: ${tool}` }, async (ctx) => {
      const asked = await ask(ctx, ...questions(ctx));
      return isAsking(asked) ? asked : answer(`state-ok: ${Object.values(asked).join(', ')}`);
    });
  }
  server.registerPrompt('test_input_required_result_prompt', { description: 'Asks the user' }, async (ctx) => {
    const asked = await ask(ctx, { user_context: elicit('What context should the prompt use?', 'context') });
    return isAsking(asked) ? asked : { messages: [{ role: 'user', content: text(String(asked.user_context)) }] };
  });
}

function registerNotifyingTools(server: McpServer): void {
  const log = ({ mcpReq }: ServerContext, data: string) =>
    mcpReq.notify({ method: 'notifications/message', params: { level: 'info', data } });
  server.registerTool('test_tool_with_logging', { description: 'Logs three times' }, async (ctx) => {
    for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await log(ctx, data);
      await sleep(STEP_MS);
    }
    return answer('Logged three times.');
  });
  server.registerTool('test_logging_tool', { description: 'Logs once' }, async (ctx) => {
    await log(ctx, 'Called.');
    return answer('Logged once.');
  });
  server.registerTool('test_tool_with_progress', { description: 'Reports progress' }, async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      const params = { progressToken: progressToken ?? '', progress, total: 100 };
      await mcpReq.notify({ method: 'notifications/progress', params });
      await sleep(STEP_MS);
    }
    return answer('Progressed to 100.');
  });
  server.registerTool('test_trigger_tool_change', { description: 'Announces a change of its tools' }, () => {
    server.sendToolListChanged();
    return answer('Announced.');
  });
  server.registerTool('test_trigger_prompt_change', { description: 'Announces a change of its prompts' }, () => {
    server.sendPromptListChanged();
    return answer('Announced.');
  });
  const region = z.string().meta({ 'x-mcp-header': 'Region' });
  server.registerTool(
    'test_mirrored_parameter',
    { description: 'Has a parameter that is mirrored into a header (SEP-2243)', inputSchema: z.object({ region }) },
    (args) => answer(args.region),
  );
}

/** A server of the SDK's version 2 with the fixtures of MCP 2026-07-28. */
export function buildNativeFixtureServer(): McpServer {
  const server = new McpServer(
    { name: 'conformance-fixture', version: '2.0.0' },
    {
      capabilities: { logging: {}, resources: { subscribe: true } },
      supportedProtocolVersions: ['2026-07-28', ...SUPPORTED_PROTOCOL_VERSIONS],
      requestState: { verify: (...given) => codec.verify(...given) },
    },
  );
  // Both versions register these by the same calls.
  const asV1 = server as unknown as McpServerV1;
  registerContent(asV1);
  registerStaticResources(asV1);
  registerNotifyingTools(server);
  registerAskingFixtures(server);
  return server;
}
