import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { CallToolResult, ElicitRequestFormParams } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';

// What the suite's scenarios of MCP 2026-07-28 call. They look for questions by fixed names, which a server of the SDK's version 1
// gives by a hint: the router would make names of its own.

const named = (key: string) => ({ _meta: { 'express-mcp-router/input-key': key } });
const text = (value: string) => ({ type: 'text' as const, text: value });
const answer = (value: string): CallToolResult => ({ content: [text(value)] });

type Property = ElicitRequestFormParams['requestedSchema']['properties'][string];

/** Registers a tool for each way in which a handler can ask its client. */
export function registerAskingFixtures(server: McpServer): void {
  const elicit = async (key: string, message: string, field: string, property: Property = { type: 'string' }) => {
    const properties = { [field]: property };
    const form = { message, requestedSchema: { type: 'object' as const, properties, required: [field] } };
    const { content } = await server.server.elicitInput({ ...form, ...named(key) });
    return String(content?.[field]);
  };
  const sample = async (key: string, question: string, maxTokens: number) => {
    const messages = [{ role: 'user' as const, content: text(question) }];
    const { content } = await server.server.createMessage({ messages, maxTokens, ...named(key) });
    return content.type === 'text' ? content.text : content.type;
  };
  const roots = async (key: string) => (await server.server.listRoots(named(key))).roots.map(({ uri }) => uri).join();

  const tools: Record<string, () => Promise<string>> = {
    elicitation: async () => `Hello, ${await elicit('user_name', 'What is your name?', 'name')}!`,
    sampling: () => sample('capital_question', 'What is the capital of France?', 100),
    list_roots: () => roots('client_roots'),
    request_state: async () => `state-ok: ${await elicit('confirm', 'Please confirm', 'ok', { type: 'boolean' })}`,
    tampered_state: () => elicit('confirm', 'Please confirm', 'ok', { type: 'boolean' }),
    multiple_inputs: async () => {
      const name = elicit('user_name', 'What is your name?', 'name');
      const greeting = sample('greeting', 'Generate a greeting', 50);
      return (await Promise.all([name, greeting, roots('client_roots')])).join(', ');
    },
    multi_round: async () => {
      const name = await elicit('step1', 'Step 1: What is your name?', 'name');
      return `${name} likes ${await elicit('step2', 'Step 2: What is your favorite color?', 'color')}`;
    },
    capabilities: async () => {
      const { elicitation, sampling } = server.server.getClientCapabilities() ?? {};
      if (elicitation !== undefined) return elicit('user_name', 'What is your name?', 'name');
      return sampling === undefined ? 'Nothing to ask.' : sample('greeting', 'Generate a greeting', 50);
    },
  };
  for (const [name, run] of Object.entries(tools)) {
    const description = `Asks its client: ${name}`;
    server.registerTool(`test_input_required_result_${name}`, { description }, async () => answer(await run()));
  }
  server.registerTool('test_missing_capability', { description: 'Needs sampling' }, async () =>
    answer(await sample('greeting', 'Generate a greeting', 50)),
  );
  server.registerTool('test_streaming_elicitation', { description: 'Asks the user' }, async () =>
    answer(await elicit('user_name', 'What is your name?', 'name')),
  );
  server.registerPrompt('test_input_required_result_prompt', { description: 'Asks the user' }, async () => ({
    messages: [
      { role: 'user', content: text(await elicit('user_context', 'What context should the prompt use?', 'context')) },
    ],
  }));

  server.registerTool('test_logging_tool', { description: 'Logs once' }, async () => {
    await server.sendLoggingMessage({ level: 'info', data: 'Called.' });
    return answer('Logged once.');
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
    { description: 'Has a parameter that is mirrored into a header (SEP-2243)', inputSchema: { region } },
    (args) => answer(args.region),
  );
}
