/**
 * Wraps a factory, and keeps its open servers, so that a notification can be sent to each.
 *
 * @param {() => any} factory Makes an `McpServer` of either version of the SDK, or a low-level `Server`.
 */
export function openServers(factory) {
  const open = new Set();
  return {
    create() {
      const server = factory();
      open.add(server);
      (server.server ?? server).onclose = () => open.delete(server);
      return server;
    },
    /** @param {unknown} data */
    notify: (data) => Promise.all([...open].map((server) => server.sendLoggingMessage({ level: 'info', data }))),
    /** Announces that the tools have changed. */
    announce: () => Promise.all([...open].map((server) => (server.server ?? server).sendToolListChanged())),
  };
}
