import { Refusal } from '../errors.js';
import type { InspectedNodes, InspectRequest, NodeAnswer } from '../inspection/views.js';
import { NoAnswer } from './port/ask-node.js';
import type { Answered, NodePort } from './port/node-port.js';

/** Asks the other nodes what operators want to see. One that does not answer is named. */
export class InspectedClusterNodes implements InspectedNodes {
  readonly #port: Pick<NodePort, 'broadcast'>;

  constructor(port: Pick<NodePort, 'broadcast'>) {
    this.#port = port;
  }

  async ask(request: InspectRequest): Promise<NodeAnswer[]> {
    return (await this.#port.broadcast('inspect', { request })).map(toAnswer);
  }
}

function toAnswer({ node: { id: node }, result }: Answered<'inspect'>): NodeAnswer {
  if (result.status === 'fulfilled') return { node, answer: result.value, error: undefined };
  const { reason } = result as { reason: unknown };
  const why = reason instanceof Refusal && reason.cause instanceof NoAnswer ? reason.cause.why : 'does not answer';
  return { node, answer: undefined, error: why };
}
