import { createServer } from 'node:net';

const HOST = '127.0.0.1';

/** Lets a server listen on a free port. Resolves to the URL of its MCP endpoint. */
export function listen(server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, HOST, () => resolve(urlOf(server.address().port)));
  });
}

/** @param {number} port */
export const urlOf = (port) => `http://${HOST}:${port}/mcp`;

/** Finds a free port, for a framework that needs a port number. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, HOST, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
