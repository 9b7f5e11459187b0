/**
 * The route of the examples of both SDK versions: a `Map` of transports by session ID.
 *
 * @param {object} parts
 * @param {(body: unknown) => boolean} parts.isInitializeRequest
 * @param {() => any} parts.createServer
 * @param {(onsessioninitialized: (id: string) => void) => any} parts.createTransport
 */
export function sessionRoute({ isInitializeRequest, createServer, createTransport }) {
  const sessions = new Map();

  const open = async (req, res) => {
    const transport = createTransport((id) => sessions.set(id, transport));
    transport.onclose = () => sessions.delete(transport.sessionId);
    await createServer().connect(transport);
    await transport.handleRequest(req, res, req.body);
  };

  const refuse = (res, status, code, message) =>
    res.status(status).json({ jsonrpc: '2.0', error: { code, message }, id: null });

  const route = async (req, res) => {
    const id = req.headers['mcp-session-id'];
    const transport = id === undefined ? undefined : sessions.get(id);
    if (transport !== undefined) return transport.handleRequest(req, res, req.body);
    if (id !== undefined) return refuse(res, 404, -32001, 'Session not found');
    if (isInitializeRequest(req.body)) return open(req, res);
    return refuse(res, 400, -32000, 'Bad Request: No valid session ID provided');
  };
  return { route, sessions };
}
