import type {
  JSONRPCErrorResponse,
  JSONRPCNotification,
  JSONRPCRequest,
  JSONRPCResultResponse,
  RequestId,
} from '../protocol/messages.js';

/** Traces and measures what an endpoint serves. `openTelemetry()` of `express-mcp-router/otel` makes one. */
export interface Telemetry {
  /** The instrumentation scope of its spans and metrics. */
  readonly scope: string;
  /**
   * Called once by each endpoint.
   *
   * @internal
   */
  instrument(): SessionInstrumentation;
}

/** Fields that carry the context of a trace, such as `traceparent`. */
export type TraceFields = Readonly<Record<string, string>>;

/** The client's end of an HTTP connection. */
export interface Peer {
  readonly address?: string | undefined;
  readonly port?: number | undefined;
}

/** The facts that a node sends with a request that it forwards. */
export interface HopTrace {
  /** The context in which the node served its own HTTP request. */
  readonly fields: TraceFields;
  readonly peer: Peer;
  readonly httpVersion: string;
}

/** The POST that brought a message. */
export interface Arrival {
  /** When it was read, by `performance.now()`: of the times that a span takes, only that one has fractions of a millisecond. */
  readonly since: number;
  /** Set when another node has forwarded it. */
  readonly hop: HopTrace | undefined;
  readonly peer: () => Peer;
  /** The version of HTTP that the client speaks, such as `1.1`. */
  readonly httpVersion: string;
}

/** Facts of an operation that its message lacks. */
export interface OperationFacts {
  readonly sessionId: string | undefined;
  /** Undefined for `initialize`, whose answer has it, and for a message that no server got. */
  readonly protocolVersion: string | undefined;
}

/** An error that answers a request. */
export interface OperationError extends Pick<JSONRPCErrorResponse, 'error'> {
  /** Set when the app refused the request with a status below 500: the server has not failed. */
  readonly isMistakeOfClient?: boolean;
}

/** The answer to a request. Undefined when there is none, because the request was cancelled. */
export type OperationEnd = Pick<JSONRPCResultResponse, 'result'> | OperationError | undefined;

/** One MCP request or notification, from its arrival to its answer. */
export interface Operation {
  /** Calls the function in the context of the operation. */
  run<T>(work: () => T): T;
  /** Only the first call counts. */
  end(answer: OperationEnd): void;
}

/** A request of a server to its client. */
export interface Question extends Pick<Operation, 'end'> {
  /** They go into the `_meta` of the request. */
  readonly fields: TraceFields;
}

/** The operations of one POST. */
export interface Operations {
  /** The operation of a message. It begins with the first call. */
  begin(message: JSONRPCRequest | JSONRPCNotification, facts: OperationFacts): Operation;
  /** The operation of a notification lasts as long as the function that takes it. */
  take(message: JSONRPCNotification, facts: OperationFacts, work: () => void): void;
}

/** The telemetry of an endpoint, as the core calls it. The core calls it only if the option `telemetry` is set. */
export interface Instrumentation {
  /** A client's request or notification is served from now on. */
  begin(message: JSONRPCRequest | JSONRPCNotification, facts: OperationFacts, arrival: Arrival): Operation;
  /** @param id - The ID that the client sees. Undefined when the client sees none. */
  ask(message: JSONRPCRequest, facts: OperationFacts, id: RequestId | undefined): Question;
  /** The current context, for another node. */
  carry(): TraceFields;
}

/** The telemetry of an endpoint and of its sessions. */
export interface SessionInstrumentation extends Instrumentation {
  /** @param error - Set when the session ended with an error. */
  sessionEnded(durationMs: number, protocolVersion: string | undefined, error: string | undefined): void;
}

/** Calls the function in the context of the operation, if there is one. */
export function runIn<T>(operation: Operation | undefined, work: () => T): T {
  return operation === undefined ? work() : operation.run(work);
}
