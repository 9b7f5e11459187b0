import { startHTTPServer } from 'mcp-proxy';
import { v2Factory } from '../tools/sdk-v2.mjs';
import { freePort, urlOf } from './listening.mjs';
import { openServers } from './open-servers.mjs';

/** `startHTTPServer` of mcp-proxy without its event store, because the other contenders have none. */
export async function start({ stateless, ...settings }) {
  const servers = openServers(v2Factory(settings));
  const port = await freePort();
  const server = await startHTTPServer({
    port,
    host: '127.0.0.1',
    createServer: async () => servers.create(),
    eventStore: false,
    stateless,
  });
  return { url: urlOf(port), notify: servers.notify, announce: () => server.notify.toolsChanged() };
}
