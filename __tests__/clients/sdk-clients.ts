import * as v2 from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

type Mode = v2.VersionNegotiationMode;
interface Result {
  readonly content: readonly { readonly text?: string }[];
}

/** What both versions of the SDK's client have in common. */
export interface AnyClient {
  readonly version: string | undefined;
  list(): Promise<string[]>;
  call(name: string, args?: Record<string, unknown>, signal?: AbortSignal): Promise<string>;
  steps(count: number): Promise<number[]>;
  close(): Promise<void>;
}

const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const info = { name: 'eras', version: '1' };
const accepted = { action: 'accept' as const, content: { name: 'Ada' } };
const textOf = (result: unknown): string => (result as Result).content[0]?.text ?? '';

/** Connects a client of the SDK's version 2. */
export const connectV2 =
  (mode?: Mode, headers: Record<string, string> = {}) =>
  async (url: URL): Promise<AnyClient> => {
    const client = new v2.Client(info, { capabilities, ...(mode !== undefined && { versionNegotiation: { mode } }) });
    client.setRequestHandler('elicitation/create', () => accepted);
    const transport = new v2.StreamableHTTPClientTransport(url, { requestInit: { headers } });
    await client.connect(transport);
    return {
      version: client.getNegotiatedProtocolVersion(),
      list: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: async (name, args = {}, signal) =>
        textOf(await client.callTool({ name, arguments: args }, { ...(signal && { signal }) })),
      async steps(count) {
        const seen: number[] = [];
        const onprogress = ({ progress }: { progress: number }) => void seen.push(progress);
        await client.callTool({ name: 'steps', arguments: { count } }, { onprogress });
        return seen;
      },
      async close() {
        await transport.terminateSession();
        await client.close();
      },
    };
  };

/** Connects a client of the SDK's version 1. */
export async function connectV1(url: URL): Promise<AnyClient> {
  const client = new Client(info, { capabilities });
  client.setRequestHandler(ElicitRequestSchema, () => accepted);
  const transport = new StreamableHTTPClientTransport(url);
  await client.connect(transport);
  return {
    version: transport.protocolVersion,
    list: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args = {}, signal) =>
      textOf(await client.callTool({ name, arguments: args }, undefined, { ...(signal && { signal }) })),
    async steps(count) {
      const seen: number[] = [];
      const onprogress = ({ progress }: { progress: number }) => void seen.push(progress);
      await client.callTool({ name: 'steps', arguments: { count } }, undefined, { onprogress });
      return seen;
    },
    async close() {
      await transport.terminateSession();
      await client.close();
    },
  };
}
