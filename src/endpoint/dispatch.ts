import { Refusal } from '../errors.js';
import type { Exchange } from '../http/exchange.js';
import type { Receive } from '../http/receive.js';
import type { Endpoint } from './endpoint.js';
import type { ForwardingPort } from './session/forwarding-port.js';

/**
 * Makes the function that passes each request to its endpoint after the guards. It also reads POSTs, as only the body shows which
 * endpoint serves a POST.
 *
 * @param forwarding - Undefined without a cluster.
 * @returns A function that rejects with a Refusal when the request is refused, or with another error when the router failed.
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
