import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const ignore = (): void => undefined;

/** Stands between a client and a server on this machine, and does to their connections what a network does on a bad day. */
export class FaultProxy {
  readonly port: number;
  /** After how many bytes from the server a connection is cut; asked for each new one. */
  cutAfter: () => number = () => Infinity;
  #target: number;
  readonly #listener: Server;
  /** Both ends of each connection. */
  readonly #pairs = new Set<readonly [client: Socket, server: Socket]>();
  #held = false;
  #refuses = false;

  private constructor(listener: Server, target: number) {
    this.port = (listener.address() as AddressInfo).port;
    this.#target = target;
    this.#listener = listener.on('connection', (client) => this.#join(client));
  }

  /** @param target - The port of the server. It need not listen yet, nor always. */
  static async start(target: number): Promise<FaultProxy> {
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return new FaultProxy(listener, target);
  }

  /** Breaks all connections, whatever is under way on them. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  /** Keeps back what either side sends, also on new connections, until `release`. */
  hold(): void {
    this.#held = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  release(): void {
    this.#held = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  /** Breaks all connections, and every new one at once, until `accept`. */
  refuse(): void {
    this.#refuses = true;
    this.cut();
  }

  accept(): void {
    this.#refuses = false;
  }

  /** New connections go to another server of this machine. */
  redirect(target: number): void {
    this.#target = target;
  }

  async close(): Promise<void> {
    this.cut();
    this.#listener.close();
    await once(this.#listener, 'close');
  }

  #join(client: Socket): void {
    client.on('error', ignore);
    if (this.#refuses) return void client.resetAndDestroy();
    const server = connect(this.#target, '127.0.0.1').on('error', ignore);
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    let left = this.cutAfter();
    // Each side may send as much as it likes: both are tests that read all they get.
    client.on('data', (data) => server.write(data));
    server.on('data', (data) => {
      client.write(data.subarray(0, Math.max(0, left)));
      left -= data.length;
      if (left > 0) return;
      client.destroySoon();
      server.destroy();
    });
    if (this.#held) for (const socket of pair) socket.pause();
    for (const socket of pair) {
      socket.on('close', () => {
        this.#pairs.delete(pair);
        client.destroySoon();
        server.destroySoon();
      });
    }
  }
}
