import type { IncomingMessage } from 'node:http';
import { errorFor } from '../errors.js';
import { isHttpError } from '../http-error.js';
import type {
  Arrival,
  HopTrace,
  Instrumentation,
  Operation,
  OperationFacts,
  OperationError,
  Operations,
  Peer,
} from '../options/telemetry.js';
import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest } from '../protocol/messages.js';
import type { McpRequest } from './mcp-request.js';

/** No server has got the message, so neither its session nor its version was checked. */
const UNSERVED: OperationFacts = { sessionId: undefined, protocolVersion: undefined };

/** The operations of one POST, from the moment when its body was read. */
export class PostOperations implements Operations {
  readonly #instrumentation: Instrumentation;
  readonly #arrival: Arrival;
  readonly #begun = new Map<JSONRPCMessage, Operation>();

  constructor(instrumentation: Instrumentation, req: McpRequest) {
    this.#instrumentation = instrumentation;
    const httpVersion = req.hop?.httpVersion ?? req.message.httpVersion;
    this.#arrival = { since: performance.now(), hop: req.hop, httpVersion, peer: () => peerOf(req) };
  }

  begin(message: JSONRPCRequest | JSONRPCNotification, facts: OperationFacts): Operation {
    const begun = this.#begun.get(message);
    if (begun !== undefined) return begun;
    const operation = this.#instrumentation.begin(message, facts, this.#arrival);
    this.#begun.set(message, operation);
    return operation;
  }

  take(message: JSONRPCNotification, facts: OperationFacts, work: () => void): void {
    const operation = this.begin(message, facts);
    operation.run(work);
    operation.end({ result: {} });
  }

  /** Ends the operations of messages that were refused. Those that have ended already are left as they are. */
  refuse(messages: readonly JSONRPCMessage[], error: unknown): void {
    const answer = answerFor(error);
    for (const message of messages) if ('method' in message) this.begin(message, UNSERVED).end(answer);
  }

  /** For the node to which the POST is forwarded. */
  hop(): HopTrace {
    const { httpVersion, peer } = this.#arrival;
    return { fields: this.#instrumentation.carry(), peer: peer(), httpVersion };
  }
}

function answerFor(thrown: unknown): OperationError {
  const error = errorFor(thrown);
  return isHttpError(thrown) ? { error, isMistakeOfClient: thrown.status < 500 } : { error };
}

function peerOf({ hop, message }: McpRequest): Peer {
  if (hop !== undefined) return hop.peer;
  const { remoteAddress, remotePort } = message.socket;
  const address = addressBehindProxies(message);
  return address === undefined || address === remoteAddress
    ? { address: remoteAddress, port: remotePort }
    : { address };
}

/** Express computes `ip` by the app's `trust proxy`. The headers alone prove nothing, as any client can send them. */
function addressBehindProxies(message: IncomingMessage): string | undefined {
  try {
    const { ip } = message as { ip?: unknown };
    return typeof ip === 'string' ? ip : undefined;
  } catch {
    // The app's function for `trust proxy` threw.
    return undefined;
  }
}
