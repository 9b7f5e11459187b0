import { NONE, sum, type NotifiedNodes } from '../../notify/notify.js';
import type { Notified } from '../../notify/notification.js';
import { readAnswer } from '../port/ask-node.js';
import type { NodePort } from '../port/node-port.js';
import { NodeQueues, type NodeQueuesInit } from '../port/node-queues.js';

export interface NotifiedNodesInit extends Omit<NodeQueuesInit<Notified>, 'send' | 'read' | 'report'> {
  readonly port: Pick<NodePort, 'request'>;
  readonly report: (what: string, error: unknown) => void;
}

/** Hands notifications to the other nodes. */
export class NotifiedClusterNodes implements NotifiedNodes {
  readonly #queues: NodeQueues<Notified>;

  constructor({ port, report, ...init }: NotifiedNodesInit) {
    this.#queues = new NodeQueues({
      ...init,
      send: (node, body, options) => port.request(node, 'notify', {}, body, options),
      read: readAnswer<'notify'>,
      report: (error) => report('a notification did not reach another node', error),
    });
  }

  async notify(json: string): Promise<Notified> {
    const counts = await this.#queues.ask(json);
    return counts.reduce(sum, NONE);
  }
}
