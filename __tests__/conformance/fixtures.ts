import { setTimeout as sleep } from 'node:timers/promises';
import { completable } from '@modelcontextprotocol/sdk/server/completable.js';
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
  type CallToolResult,
  type ElicitRequestFormParams,
  type ElicitResult,
  type EmbeddedResource,
  type GetPromptResult,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { registerAskingFixtures } from './asking-fixtures.js';

// What the official conformance suite's server scenarios call: their names and contents are the suite's, not ours.

/** One red pixel. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
/** A WAV header without samples. */
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=';

const STEP_MS = 50;
/** How long the answer of `test_reconnection` comes after its stream was closed: the client is back by then, or will replay. */
const RECONNECT_MS = 100;

const text = (value: string) => ({ type: 'text' as const, text: value });
const image = { type: 'image' as const, data: PNG, mimeType: 'image/png' };
const embedded = (uri: string, mimeType: string, value: string): EmbeddedResource => ({
  type: 'resource',
  resource: { uri, mimeType, text: value },
});
const answer = (...content: CallToolResult['content']): CallToolResult => ({ content });
const prompt = (...content: GetPromptResult['messages'][number]['content'][]): GetPromptResult => ({
  messages: content.map((item) => ({ role: 'user', content: item })),
});
const describeAnswer = ({ action, content }: ElicitResult) =>
  answer(text(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`));

/** Keywords of JSON Schema 2020-12 that zod has no words for (SEP-1613, SEP-2106): `tools/list` must keep them as they are. */
const jsonSchema2020 = z.looseObject({}).meta({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
});

/** SEP-1034: a default for each primitive type. */
const DEFAULTS: ElicitRequestFormParams['requestedSchema'] = {
  type: 'object',
  properties: {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  },
};

const PLAIN_OPTIONS = ['option1', 'option2', 'option3'];
const TITLED_OPTIONS = [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Choice ${n}` }));

/** SEP-1330: every form of enumeration. */
const ENUMS: ElicitRequestFormParams['requestedSchema'] = {
  type: 'object',
  properties: {
    untitledSingle: { type: 'string', enum: PLAIN_OPTIONS },
    titledSingle: { type: 'string', oneOf: TITLED_OPTIONS },
    legacyEnum: { type: 'string', enum: ['opt1', 'opt2'], enumNames: ['Option One', 'Option Two'] },
    untitledMulti: { type: 'array', items: { type: 'string', enum: PLAIN_OPTIONS } },
    titledMulti: { type: 'array', items: { anyOf: TITLED_OPTIONS } },
  },
};

function registerContentTools(server: McpServer): void {
  const fixed: [name: string, result: CallToolResult][] = [
    ['test_simple_text', answer(text('This is a simple text response for testing.'))],
    ['test_image_content', answer(image)],
    ['test_audio_content', answer({ type: 'audio', data: WAV, mimeType: 'audio/wav' })],
    [
      'test_embedded_resource',
      answer(embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')),
    ],
    [
      'test_multiple_content_types',
      answer(
        text('Multiple content types test:'),
        image,
        embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
      ),
    ],
  ];
  for (const [name, result] of fixed) server.registerTool(name, { description: `Returns ${name}` }, () => result);

  server.registerTool('test_error_handling', { description: 'Always fails' }, () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  server.registerTool(
    'json_schema_2020_12_tool',
    { description: 'Tool with JSON Schema 2020-12 features', inputSchema: jsonSchema2020 },
    (args) => answer(text(JSON.stringify(args))),
  );
}

function registerStreamingTools(server: McpServer): void {
  server.registerTool('test_tool_with_logging', { description: 'Logs three times' }, async (extra) => {
    const log = (data: string) =>
      extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
    await log('Tool execution started');
    await sleep(STEP_MS);
    await log('Tool processing data');
    await sleep(STEP_MS);
    await log('Tool execution completed');
    return answer(text('Logged three times.'));
  });

  server.registerTool('test_tool_with_progress', { description: 'Reports progress' }, async (extra) => {
    const progressToken = extra._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progress > 0) await sleep(STEP_MS);
      if (progressToken === undefined) continue;
      await extra.sendNotification({
        method: 'notifications/progress',
        params: { progressToken, progress, total: 100 },
      });
    }
    return answer(text('Progressed to 100.'));
  });

  server.registerTool(
    'test_reconnection',
    { description: 'Ends its stream before it answers, so that the client must come back for the answer (SEP-1699)' },
    async ({ closeSSEStream }) => {
      closeSSEStream?.();
      await sleep(RECONNECT_MS);
      return answer(text('Answered after the stream was closed.'));
    },
  );
}

function registerAskingTools(server: McpServer): void {
  server.registerTool(
    'test_sampling',
    { description: 'Asks the client to sample', inputSchema: { prompt: z.string() } },
    async ({ prompt: value }, { requestId }) => {
      const { content } = await server.server.createMessage(
        { messages: [{ role: 'user', content: text(value) }], maxTokens: 100 },
        { relatedRequestId: requestId },
      );
      return answer(text(`LLM response: ${content.type === 'text' ? content.text : content.type}`));
    },
  );

  server.registerTool(
    'test_elicitation',
    { description: 'Asks the user', inputSchema: { message: z.string() } },
    async ({ message }, { requestId }) => {
      const { action, content } = await server.server.elicitInput(
        {
          message,
          requestedSchema: {
            type: 'object',
            properties: {
              username: { type: 'string', description: "User's response" },
              email: { type: 'string', description: "User's email address" },
            },
            required: ['username', 'email'],
          },
        },
        { relatedRequestId: requestId },
      );
      return answer(text(`User response: action: ${action}, content: ${JSON.stringify(content ?? {})}`));
    },
  );

  const forms = [
    ['test_elicitation_sep1034_defaults', DEFAULTS],
    ['test_elicitation_sep1330_enums', ENUMS],
  ] as const;
  for (const [name, requestedSchema] of forms) {
    server.registerTool(name, { description: `Asks the user with the form of ${name}` }, async ({ requestId }) =>
      describeAnswer(
        await server.server.elicitInput({ message: name, requestedSchema }, { relatedRequestId: requestId }),
      ),
    );
  }
}

/** Registers the resources that never change. */
export function registerStaticResources(server: McpServer): void {
  const fixed = [
    [
      'static-text',
      { mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
      'A text resource',
    ],
    ['static-binary', { mimeType: 'image/png', blob: PNG }, 'A binary resource'],
    ['watched-resource', { mimeType: 'text/plain', text: 'Watched.' }, 'A resource to subscribe to'],
  ] as const;
  for (const [name, content, description] of fixed) {
    const uri = `test://${name}`;
    server.registerResource(name, uri, { description, mimeType: content.mimeType }, () => ({
      contents: [{ uri, ...content }],
    }));
  }

  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'Data by ID', mimeType: 'application/json' },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }),
        },
      ],
    }),
  );
}

function registerSubscriptions(server: McpServer): void {
  const subscribed = new Set<string>();
  server.server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    subscribed.add(params.uri);
    return {};
  });
  server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    subscribed.delete(params.uri);
    return {};
  });
}

function registerPrompts(server: McpServer): void {
  server.registerPrompt('test_simple_prompt', { description: 'A simple prompt' }, () =>
    prompt(text('This is a simple prompt for testing.')),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'A prompt with an image' }, () =>
    prompt(image, text('Please analyze the image above.')),
  );
  server.registerPrompt(
    'test_prompt_with_arguments',
    {
      description: 'A prompt with two arguments, the first of them completed',
      argsSchema: {
        arg1: completable(z.string(), (value) => ['paris', 'park', 'party'].filter((word) => word.startsWith(value))),
        arg2: z.string(),
      },
    },
    ({ arg1, arg2 }) => prompt(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'A prompt with a resource in it', argsSchema: { resourceUri: z.string() } },
    ({ resourceUri }) =>
      prompt(
        embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
        text('Please process the embedded resource above.'),
      ),
  );
}

/** Registers what answers at once. */
export function registerContent(server: McpServer): void {
  registerContentTools(server);
  registerPrompts(server);
}

/** A server that has all the fixtures of the official conformance suite, versions 0.1.16 to 0.2.0. */
export function buildFixtureServer(): McpServer {
  const server = new McpServer(
    { name: 'conformance-fixture', version: '1.0.0' },
    { capabilities: { logging: {}, resources: { subscribe: true } } },
  );
  registerContent(server);
  registerStreamingTools(server);
  registerAskingTools(server);
  registerAskingFixtures(server);
  registerStaticResources(server);
  registerSubscriptions(server);
  return server;
}
