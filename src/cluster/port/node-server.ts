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

/** Bytes that the envelope may take. It has the client's headers as JSON, which Node limits to 16 KiB, and its `AuthInfo`. */
const MAX_ENVELOPE = 256 * 1024;

/** The factor by which JSON can grow when it is parsed and written again: `1e20` becomes 21 digits. */
const MAX_GROWTH = 6;

/** Bytes of the largest message, for that value of the option `maxBodySize`. */
export const maxPayload = (maxBodySize: number): number => maxBodySize * MAX_GROWTH + MAX_ENVELOPE;

export interface NodeServerInit {
  readonly key: KeyObject;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly host: string;
  readonly port: number;
  /** Bytes that the body of a request may have. */
  readonly maxBodySize: number;
  /** Bytes that incomplete messages may take together. One message of the largest size is always taken. */
  readonly maxBodyMemory: number;
  /** Returns `fresh` for a new message to the current membership of this node, else the reason to refuse it. */
  readonly check: (envelope: Envelope) => string;
  /** Carries out a request and answers it. Rejects only with NotOwner. The request was not begun then. */
  readonly carryOut: (envelope: Envelope, body: Buffer, req: IncomingMessage, res: ServerResponse) => Promise<void>;
}

/** The private listener, which takes the requests of other nodes. */
export class NodeServer {
  readonly #init: NodeServerInit;
  readonly #server: Server;
  readonly #maxPayload: number;
  /** The messages that are being read. Their signatures cannot be checked yet, so they may come from an attacker. */
  readonly #arriving: ArrivingBodies;
  /** The connections on which {@link PEER} has been sent. */
  readonly #introduced = new WeakSet<Socket>();

  constructor(init: NodeServerInit) {
    this.#init = init;
    this.#maxPayload = maxPayload(init.maxBodySize);
    const maxMemory = Math.max(init.maxBodyMemory, this.#maxPayload);
    this.#arriving = new ArrivingBodies(init.clock, maxMemory, init.lifecycle);
    this.#server = createServer((req, res) => {
      this.#serve(req, res).catch(() => res.destroy());
    });
    // Without a listener, a later error would end the process, for example when no file descriptor is free.
    this.#server.on('error', () => undefined);
    // Long, as other nodes reuse their connections. A request fails if this node closes its connection at the same time.
    this.#server.keepAliveTimeout = 5 * 60_000;
    // The listener must not keep the process alive.
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
      // No node sends a larger message, or one without Content-Length.
      if (!(Number(req.headers['content-length']) <= this.#maxPayload)) return void res.destroy();
      const payload = await new ArrivingBody(req, this.#maxPayload, this.#arriving).read();
      const opened = unseal(this.#init.key, payload, req.headers[SIGNATURE]);
      if (opened === undefined) return refuse(res, 'unsigned');
      const verdict = this.#init.check(opened.envelope);
      if (verdict !== 'fresh') return refuse(res, verdict);
      if (!this.#introduced.has(req.socket)) {
        this.#introduced.add(req.socket);
        res.setHeader(PEER, endOf(req.socket.remoteAddress, req.socket.remotePort));
      }
      // Both show that this node takes the message. A proxy may drop the 102, but not the header.
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

/** The reason for which the request was not begun. Undefined when it may have been begun, or when the sender has disconnected. */
function untakenBy(error: unknown): string | undefined {
  if (error instanceof NotOwner) return 'notHere';
  return error instanceof Refusal && error.reason === 'bodiesAtCapacity' ? error.reason : undefined;
}

function refuse(res: ServerResponse, why: string): void {
  res.removeHeader(BEGUN);
  res.writeHead(421, { [REFUSED]: why, 'Content-Length': 0 });
  res.end();
}
