import { Refusal } from '../errors.js';
import type { Exchange } from '../http/exchange.js';
import type { Receive } from '../http/receive.js';
import type { Endpoint } from './endpoint.js';
import type { ForwardingPort } from './session/forwarding-port.js';

/**
 * Makes the function that takes each request that passed the guards to its endpoint. What a client posted is received here, as
 * only the body tells which endpoint that is.
 *
 * @param forwarding - Undefined where there are no other nodes.
 * @returns A function that rejects with a Refusal for what the client is told, and otherwise with an internal error.
 */
export function createDispatch(
  endpoint: Endpoint,
  receive: Receive,
  forwarding: Pick<ForwardingPort, 'checkMember'> | undefined,
): (exchange: Exchange) => Promise<void> {
  return async (exchange) => {
    if (forwarding !== undefined) await forwarding.checkMember();
    const { method } = exchange.req;
    if (method === 'POST') return endpoint.post(exchange, await receive(exchange));
    if (method === 'GET' && endpoint.get !== undefined) return endpoint.get(exchange);
    if (method === 'DELETE' && endpoint.delete !== undefined) return endpoint.delete(exchange);
    throw new Refusal('methodNotAllowed');
  };
}
