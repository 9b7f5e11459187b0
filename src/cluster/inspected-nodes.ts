import { Refusal } from '../errors.js';
import { isAnswerTo } from '../inspection/answers.js';
import type { InspectedNodes, InspectRequest, NodeAnswer } from '../inspection/views.js';
import { NoAnswer } from './port/ask-node.js';
import type { Answered, NodePort } from './port/node-port.js';

/** Sends the requests of operators to the other nodes. A node that does not answer is named. */
export class InspectedClusterNodes implements InspectedNodes {
  readonly #port: Pick<NodePort, 'broadcast'>;

  constructor(port: Pick<NodePort, 'broadcast'>) {
    this.#port = port;
  }

  async ask(request: InspectRequest): Promise<NodeAnswer[]> {
    return (await this.#port.broadcast('inspect', { request })).map((answered) => toAnswer(request, answered));
  }
}

function toAnswer(request: InspectRequest, { node: { id: node }, result }: Answered<'inspect'>): NodeAnswer {
  if (result.status === 'rejected') return { node, answer: undefined, error: whyOf(result.reason) };
  if (!isAnswerTo(request, result.value)) {
    return { node, answer: undefined, error: 'is of a version whose answer cannot be read' };
  }
  return { node, answer: result.value, error: undefined };
}

function whyOf(reason: unknown): string {
  return reason instanceof Refusal && reason.cause instanceof NoAnswer ? reason.cause.why : 'does not answer';
}
