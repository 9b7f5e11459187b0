import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  ListResourcesRequestSchema,
  SubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

/** A server of the SDK's version 1 that announces changes, and what it was subscribed to. */
export interface AnnouncingServer {
  readonly server: Server;
  readonly uris: Set<string>;
  isClosed: boolean;
}

/** A resource that no client can subscribe to. */
export const REFUSED = 'test://refused';

/** @param early - What it announces while it is being subscribed to a resource. */
export function announcingServer(early: string[] = []): AnnouncingServer {
  const capabilities = { tools: { listChanged: true }, resources: { listChanged: true, subscribe: true }, logging: {} };
  const server = new Server({ name: 'announcing', version: '1.0.0' }, { capabilities });
  const made: AnnouncingServer = { server, uris: new Set(), isClosed: false };
  server.onclose = () => (made.isClosed = true);
  server.setRequestHandler(SubscribeRequestSchema, async ({ params: { uri } }) => {
    if (uri === REFUSED) throw new Error('not this one');
    made.uris.add(uri);
    for (const changed of early) await server.sendResourceUpdated({ uri: changed });
    return {};
  });
  // As a server would that registers its tools anew for each list.
  server.setRequestHandler(ListResourcesRequestSchema, async () => {
    await server.sendToolListChanged();
    return { resources: [] };
  });
  server.setRequestHandler(CallToolRequestSchema, async ({ params: { name, arguments: args = {} } }) => {
    if (name === 'update') {
      await server.sendResourceUpdated({ uri: String(args.uri) });
      return { content: [] };
    }
    const method = `notifications/${String(args.list)}/list_changed` as 'notifications/tools/list_changed';
    const params = { _meta: { secret: 'of this call' } };
    for (let n = 0; n < Number(args.times ?? 1); n += 1) await server.notification({ method, params });
    return { content: [] };
  });
  return made;
}
