import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What happens to a message on its way to a node:
 * - `plain`: it arrives, and its answer comes back, without any 1xx.
 * - `repeated`: the proxy sends it a second time when the node has begun it, and passes on the second answer.
 * - `breaks before`: the connection breaks, and nothing arrives.
 * - `breaks after`: the connection breaks as soon as the node has begun it.
 * - `answered`: as `breaks after`, but the proxy answers 502.
 */
export type HopFault = 'plain' | 'repeated' | 'breaks before' | 'breaks after' | 'answered';

/** An HTTP proxy between nodes, which drops every 1xx as many do (Envoy, hyper). */
export class HopProxy {
  readonly port: number;
  /** The faults of the next messages, in order. Later messages are `plain`. */
  readonly faults: HopFault[] = [];
  readonly #server: Server;
  readonly #target: number;

  private constructor(server: Server, target: number) {
    this.port = (server.address() as AddressInfo).port;
    this.#target = target;
    this.#server = server.on('request', (req, res) => void this.#serve(req, res));
  }

  static async start(target: number): Promise<HopProxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new HopProxy(server, target);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const send = () => this.#send(req, Buffer.concat(chunks));
    const fault = this.faults.shift() ?? 'plain';
    if (fault === 'breaks before') return void res.destroy();
    const first = send();
    if (fault === 'plain') {
      first.on('response', (answer) => relay(answer, res)).on('error', () => res.destroy());
      res.on('close', () => first.destroy());
      return;
    }
    // A 102 shows that the node has begun the message. A response may also refuse it.
    await Promise.race([once(first, 'information'), once(first, 'response')]);
    first.on('response', (answer) => answer.resume()).on('error', () => undefined);
    if (fault === 'breaks after') return void res.destroy();
    if (fault === 'answered') return void res.writeHead(502).end('bad gateway');
    send()
      .on('response', (answer) => relay(answer, res))
      .on('error', () => res.destroy());
  }

  #send({ method, headers }: IncomingMessage, body: Buffer) {
    const own = { ...headers, connection: 'close' };
    return request({ host: '127.0.0.1', port: this.#target, method, headers: own, agent: false }).end(body);
  }
}

function relay(answer: IncomingMessage, res: ServerResponse): void {
  res.writeHead(answer.statusCode!, answer.headers);
  answer.on('error', () => res.destroy()).pipe(res);
}
