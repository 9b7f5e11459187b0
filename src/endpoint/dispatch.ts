import { Refusal } from '../errors.js';
import type { Exchange } from '../http/exchange.js';
import { PostOperations } from '../http/operations.js';
import type { Post, Receive } from '../http/receive.js';
import type { Instrumentation } from '../options/telemetry.js';
import { NotOwner } from '../sessions/ownership.js';
import type { Endpoint } from './endpoint.js';
import type { ForwardingPort } from './session/forwarding-port.js';

/**
 * Makes the function that passes each request to its endpoint after the guards. It also reads POSTs, as only the body shows which
 * endpoint serves a POST.
 *
 * @param forwarding - Undefined without a cluster.
 * @param telemetry - Undefined without the option `telemetry`.
 * @returns A function that rejects with a Refusal when the request is refused, or with another error when the router failed.
 */
export function createDispatch(
  endpoint: Endpoint,
  receive: Receive,
  forwarding: Pick<ForwardingPort, 'checkMember'> | undefined,
  telemetry: Instrumentation | undefined,
): (exchange: Exchange) => Promise<void> {
  return async (exchange) => {
    if (forwarding !== undefined) await forwarding.checkMember();
    const { method } = exchange.req;
    if (method === 'POST') {
      const post = await receive(exchange);
      return telemetry === undefined ? endpoint.post(exchange, post) : observe(endpoint, exchange, post, telemetry);
    }
    if (method === 'GET' && endpoint.get !== undefined) return endpoint.get(exchange);
    if (method === 'DELETE' && endpoint.delete !== undefined) return endpoint.delete(exchange);
    throw new Refusal('methodNotAllowed');
  };
}

async function observe(endpoint: Endpoint, exchange: Exchange, post: Post, telemetry: Instrumentation): Promise<void> {
  const operations = new PostOperations(telemetry, exchange.req);
  exchange.operations = operations;
  try {
    await endpoint.post(exchange, post);
  } catch (error) {
    // The node that forwarded the request looks for the owner again.
    if (!(error instanceof NotOwner)) operations.refuse(post.messages, error);
    throw error;
  }
}
