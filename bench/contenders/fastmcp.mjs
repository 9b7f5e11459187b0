import { FastMCP } from 'fastmcp';
import * as z from 'zod';
import { INFO } from '../tools/info.mjs';
import { tools } from '../tools/tools.mjs';
import { freePort, urlOf } from './listening.mjs';

const ignore = () => undefined;
const QUIET = { debug: ignore, error: ignore, info: ignore, log: ignore, warn: ignore };

/** fastmcp without pings, event store and logs, because the other contenders have none. */
export async function start({ stateless, tools: count }) {
  const server = new FastMCP({ ...INFO, logger: QUIET, ping: { enabled: false }, roots: { enabled: false } });
  for (const { name, description, shape, run } of tools(count)) {
    server.addTool({
      name,
      description,
      parameters: z.object(shape(z)),
      execute: (input, { reportProgress }) => run(input, (progress, total) => reportProgress({ progress, total })),
    });
  }
  const port = await freePort();
  await server.start({
    transportType: 'httpStream',
    httpStream: { port, host: '127.0.0.1', endpoint: '/mcp', eventStore: false, stateless },
  });
  const notify = (data) =>
    Promise.all(server.sessions.map((session) => session.server.sendLoggingMessage({ level: 'info', data })));
  return { url: urlOf(port), notify };
}
