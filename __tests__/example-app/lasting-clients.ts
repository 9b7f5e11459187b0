import * as v2 from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  type LoggingLevel,
} from '@modelcontextprotocol/sdk/types.js';

/** What both of the SDK's clients do alike. */
interface SdkClient {
  callTool(params: { name: string; arguments: Record<string, unknown> }): Promise<unknown>;
  setLoggingLevel(level: LoggingLevel): Promise<unknown>;
  subscribeResource(params: { uri: string }): Promise<unknown>;
  close(): Promise<void>;
}

const COUNTDOWN = { name: 'countdown', arguments: { seconds: 2 } };

/** The SDK's clients try twice by default (docs/restart.md). On a busy machine a server takes longer to start than two tries. */
const RECONNECTION = {
  maxRetries: 100,
  initialReconnectionDelay: 500,
  maxReconnectionDelay: 1_000,
  reconnectionDelayGrowFactor: 1.5,
};

/** A client of the SDK that is one object for as long as a test runs, whatever becomes of the server. */
export class LastingClient {
  /** The notifications on its GET stream. */
  readonly logged: unknown[] = [];
  readonly updated: string[] = [];
  readonly sdk: SdkClient;
  /** A call of two seconds, which says when the first of them is over. */
  readonly countdown: (onprogress: () => void) => Promise<unknown>;

  /** @param send - Sends its requests, where they are not all for that URL. Default: the global one. */
  static async v1(url: string, send: FetchLike = fetch): Promise<LastingClient> {
    const client = new Client({ name: 'v1', version: '1' });
    const lasting = new LastingClient(client, (onprogress) => client.callTool(COUNTDOWN, undefined, { onprogress }));
    client.setNotificationHandler(
      LoggingMessageNotificationSchema,
      ({ params }) => void lasting.logged.push(params.data),
    );
    client.setNotificationHandler(
      ResourceUpdatedNotificationSchema,
      ({ params }) => void lasting.updated.push(params.uri),
    );
    await client.connect(
      new StreamableHTTPClientTransport(new URL('/mcp', url), { fetch: send, reconnectionOptions: RECONNECTION }),
    );
    return lasting;
  }

  static async v2(url: string): Promise<LastingClient> {
    const client = new v2.Client({ name: 'v2', version: '1' });
    const lasting = new LastingClient(client, (onprogress) => client.callTool(COUNTDOWN, { onprogress }));
    client.setNotificationHandler('notifications/message', ({ params }) => void lasting.logged.push(params.data));
    client.setNotificationHandler(
      'notifications/resources/updated',
      ({ params }) => void lasting.updated.push(params.uri),
    );
    await client.connect(
      new v2.StreamableHTTPClientTransport(new URL('/mcp', url), { reconnectionOptions: RECONNECTION }),
    );
    return lasting;
  }

  private constructor(sdk: SdkClient, countdown: LastingClient['countdown']) {
    this.sdk = sdk;
    this.countdown = countdown;
  }

  /** What a tool said; rejects when it said that it failed. */
  async call(name: string, args: Record<string, unknown> = {}): Promise<string> {
    const result = await this.sdk.callTool({ name, arguments: args });
    const { content, isError } = result as { content: [{ text: string }]; isError?: boolean };
    if (isError === true) throw new Error(`${name}: ${content[0].text}`);
    return content[0].text;
  }
}
