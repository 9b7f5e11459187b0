/**
 * Sends every session one log notification by `router.notify`.
 *
 * @param {import('express-mcp-router').McpRouter} mcp
 * @param {unknown} data
 */
export const notifyAll = (mcp, data) =>
  mcp.notify.send({ method: 'notifications/message', params: { level: 'info', data } });
