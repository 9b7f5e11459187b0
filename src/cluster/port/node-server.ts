import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { KeyObject } from 'node:crypto';
import { Refusal } from '../../errors.js';
import { ArrivingBodies } from '../../http/arriving-bodies.js';
import { ArrivingBody } from '../../http/arriving-body.js';
import type { Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import { NotOwner } from '../../sessions/ownership.js';
import { SIGNATURE, unseal, type Envelope } from './envelope.js';
import { BEGUN, endOf, PEER, REFUSED } from './node-client.js';
import { cannotListen } from '../membership/unreachable.js';

/** Bytes that the envelope may take: the client's headers, which Node bounds at 16 KiB, as JSON, and its `AuthInfo`. */
const MAX_ENVELOPE = 256 * 1024;

/** How much longer JSON can get when it is parsed and written again: `1e20` becomes 21 digits. */
const MAX_GROWTH = 6;

/** Bytes of a message at most, for that value of the option. */
export const maxPayload = (maxBodySize: number): number => maxBodySize * MAX_GROWTH + MAX_ENVELOPE;

export interface NodeServerInit {
  readonly key: KeyObject;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly host: string;
  readonly port: number;
  /** Bytes of a request's body. */
  readonly maxBodySize: number;
  /** Bytes that incomplete messages may take together. One message of the largest size is always taken. */
  readonly maxBodyMemory: number;
  /** Whether a message is for this node, as it is now, and was not sent before. */
  readonly check: (envelope: Envelope) => string;
  /** Carries out a request and answers it. Rejects with NotOwner when nothing was done, and never otherwise. */
  readonly carryOut: (envelope: Envelope, body: Buffer, req: IncomingMessage, res: ServerResponse) => Promise<void>;
}

/** The private listener, which takes the requests of other nodes. */
export class NodeServer {
  readonly #init: NodeServerInit;
  readonly #server: Server;
  readonly #maxPayload: number;
  /** The messages that are being read. Their signatures cannot be checked yet, so anything may have sent them. */
  readonly #arriving: ArrivingBodies;
  /** The connections on which {@link PEER} has been sent. */
  readonly #greeted = new WeakSet<Socket>();

  constructor(init: NodeServerInit) {
    this.#init = init;
    this.#maxPayload = maxPayload(init.maxBodySize);
    const maxMemory = Math.max(init.maxBodyMemory, this.#maxPayload);
    this.#arriving = new ArrivingBodies(init.clock, maxMemory, init.lifecycle);
    this.#server = createServer((req, res) => {
      this.#serve(req, res).catch(() => res.destroy());
    });
    // Without a listener, one that comes later (no file descriptors left, say) would end the process.
    this.#server.on('error', () => undefined);
    // Other nodes keep their connections; one that is closed just when it is used again would fail a request.
    this.#server.keepAliveTimeout = 5 * 60_000;
    // It must not keep the process alive.
    this.#server.unref();
  }

  /** Resolves to the port. Rejects with `Unreachable` when the port cannot be bound. It may then be called again. */
  listen(): Promise<number> {
    const { host, port } = this.#init;
    return new Promise((resolve, reject) => {
      const listening = (): void => {
        this.#server.off('error', failed);
        resolve((this.#server.address() as AddressInfo).port);
      };
      const failed = (error: Error): void => {
        this.#server.off('listening', listening);
        reject(cannotListen(host, port, error));
      };
      // Exclusive: otherwise the workers of `node:cluster` share a port, and a connection reaches any one of them.
      this.#server.once('error', failed).once('listening', listening).listen({ host, port, exclusive: true });
    });
  }

  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    return closed;
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      // Larger than a node sends, or of no declared length.
      if (!(Number(req.headers['content-length']) <= this.#maxPayload)) return void res.destroy();
      const payload = await new ArrivingBody(req, this.#maxPayload, this.#arriving).read();
      const opened = unseal(this.#init.key, payload, req.headers[SIGNATURE]);
      if (opened === undefined) return refuse(res, 'unsigned');
      const verdict = this.#init.check(opened.envelope);
      if (verdict !== 'fresh') return refuse(res, verdict);
      if (!this.#greeted.has(req.socket)) {
        this.#greeted.add(req.socket);
        res.setHeader(PEER, endOf(req.socket.remoteAddress, req.socket.remotePort));
      }
      // Both tell that this node takes the message: a proxy may drop the 102.
      res.writeProcessing();
      res.setHeader(BEGUN, opened.envelope.to);
      await this.#init.carryOut(opened.envelope, opened.body, req, res);
    } catch (error) {
      const why = untakenBy(error);
      if (why === undefined || res.headersSent) res.destroy();
      else refuse(res, why);
    }
  }
}

/** Why nothing was done. Undefined when something may have been done, or nothing reads the reason. */
function untakenBy(error: unknown): string | undefined {
  if (error instanceof NotOwner) return 'notHere';
  return error instanceof Refusal && error.reason === 'bodiesAtCapacity' ? error.reason : undefined;
}

function refuse(res: ServerResponse, why: string): void {
  res.removeHeader(BEGUN);
  res.writeHead(421, { [REFUSED]: why, 'Content-Length': 0 });
  res.end();
}
