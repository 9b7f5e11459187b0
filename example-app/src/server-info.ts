import type { ServerContext } from 'express-mcp-router';

/** What a server says of itself to the model. */
const INSTRUCTIONS = {
  stateless: 'A small server to try a client with. It is stateless: nothing is kept from one request to the next.',
  session:
    'A small server to try a client with. Notes belong to the session: no other client sees them, and they end with it.',
  request: 'A small server to try a client with. Notes belong to the user: no other user sees them.',
};

/** The name, the capabilities and the instructions of a server, for both versions of the SDK. */
export function infoOf({ era, sessionId }: ServerContext) {
  // A stateless router builds a server for each request of the clients that want a session. It leaves out what needs one.
  const stateless = era === 'session' && sessionId === undefined;
  return {
    stateless,
    info: { name: 'express-mcp-router-example', title: 'express-mcp-router example', version: '1.0.0' },
    capabilities: stateless ? {} : { logging: {}, resources: { subscribe: true } },
    instructions: INSTRUCTIONS[stateless ? 'stateless' : era],
  };
}
