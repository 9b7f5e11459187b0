// A web page that uses the SDK's own clients. Bundled and run in Chromium by browsers.test.ts, never by jest.
import * as v2 from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

export type ClientKind = 'v1' | 'v2' | 'v2 auto';

export type Outcome =
  | { readonly echoed: string; readonly announced: string; readonly ended: boolean }
  | { readonly failed: string; readonly message: string };

export interface Negotiated {
  readonly version: string | undefined;
  readonly echoed: string;
  readonly asked: string;
}

export interface PageApi {
  /** Connects, calls tools, hears a notification on the standalone stream, and ends the session. */
  use(kind: ClientKind, url: string, headers: Record<string, string>): Promise<Outcome>;
  /** Connects by the newest revision that the endpoint serves, calls a tool, and answers one that asks. */
  negotiate(url: string, headers: Record<string, string>): Promise<Negotiated>;
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? '';
const echo = { name: 'echo', arguments: { text: 'from a page' } };
const announce = { name: 'announce', arguments: { text: 'to a page' } };

/** A notification that is sent before the stream is open is lost, so it is sent until it arrives. */
async function said(heard: Promise<string>, announce: () => Promise<unknown>): Promise<string> {
  for (;;) {
    await announce();
    const waited = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 50));
    const text = await Promise.race([heard, waited]);
    if (text !== undefined) return text;
  }
}

async function useV1(url: URL, headers: Record<string, string>): Promise<Outcome> {
  const client = new Client({ name: 'page', version: '1' });
  const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
  const heard = new Promise<string>((resolve) =>
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => resolve(String(params.data))),
  );
  await client.connect(transport);
  const echoed = textOf(await client.callTool(echo));
  const announced = await said(heard, () => client.callTool(announce));
  await transport.terminateSession();
  return { echoed, announced, ended: transport.sessionId === undefined };
}

async function useV2(url: URL, headers: Record<string, string>, mode?: 'auto'): Promise<Outcome> {
  const client = new v2.Client({ name: 'page', version: '1' }, { ...(mode && { versionNegotiation: { mode } }) });
  const transport = new v2.StreamableHTTPClientTransport(url, { requestInit: { headers } });
  const heard = new Promise<string>((resolve) =>
    client.setNotificationHandler('notifications/message', ({ params }) => resolve(String(params.data))),
  );
  await client.connect(transport);
  const echoed = textOf(await client.callTool(echo));
  const announced = await said(heard, () => client.callTool(announce));
  await transport.terminateSession();
  return { echoed, announced, ended: transport.sessionId === undefined };
}

async function negotiate(url: URL, headers: Record<string, string>): Promise<Negotiated> {
  const client = new v2.Client(
    { name: 'page', version: '1' },
    { capabilities: { elicitation: {} }, versionNegotiation: { mode: 'auto' } },
  );
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
  await client.connect(new v2.StreamableHTTPClientTransport(url, { requestInit: { headers } }));
  const echoed = textOf(await client.callTool(echo));
  const asked = textOf(await client.callTool({ name: 'ask', arguments: {} }));
  const version = client.getNegotiatedProtocolVersion();
  await client.close();
  return { version, echoed, asked };
}

const api: PageApi = {
  negotiate: (address, headers) => negotiate(new URL(address), headers),
  async use(kind, address, headers) {
    const url = new URL(address);
    try {
      return await (kind === 'v1' ? useV1(url, headers) : useV2(url, headers, kind === 'v2' ? undefined : 'auto'));
    } catch (error) {
      const { name, message } = error as Error;
      return { failed: name, message };
    }
  },
};
Object.assign(globalThis, { api });
