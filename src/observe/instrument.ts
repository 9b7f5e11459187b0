import type { CoreEvents } from '../events.js';
import type {
  Instrumentation,
  Operation,
  OperationEnd,
  Question,
  Telemetry,
  TraceFields,
} from '../options/telemetry.js';
import type { Emitter } from '../runtime/emitter.js';

type Report = (error: unknown) => void;

const NO_FIELDS: TraceFields = {};

/**
 * The instrumentation of an endpoint. A tracer, exporter or propagator of the app may throw: the failure is reported, and the
 * request is served without a span.
 */
export function instrument(telemetry: Telemetry, events: Emitter<CoreEvents>): Instrumentation | undefined {
  const report = (error: unknown): void => events.emit('failure', 'telemetry', error);
  const attempt = <T>(call: () => T, otherwise: T): T => {
    try {
      return call();
    } catch (error) {
      report(error);
      return otherwise;
    }
  };
  const instrumentation = attempt(() => telemetry.instrument(), undefined);
  if (instrumentation === undefined) return undefined;
  events.on('ended', ({ ageMs, protocolVersion }, reason) => {
    instrumentation.sessionEnded(ageMs, protocolVersion, reason === 'failed' ? reason : undefined);
  });
  return {
    begin: (...operation) =>
      new GuardedOperation(
        attempt(() => instrumentation.begin(...operation), undefined),
        report,
      ),
    ask: (...question) => {
      const asked = attempt(() => instrumentation.ask(...question), undefined);
      return new GuardedOperation(asked, report, asked?.fields);
    },
    carry: () => attempt(() => instrumentation.carry(), NO_FIELDS),
  };
}

/** An operation that never throws, and calls the function of `run` exactly once. */
class GuardedOperation implements Operation, Question {
  readonly fields: TraceFields;
  readonly #report: Report;
  /** Undefined when it could not begin, and when it has ended. */
  #inner: Partial<Operation> | undefined;

  constructor(inner: Partial<Operation> | undefined, report: Report, fields = NO_FIELDS) {
    this.#inner = inner;
    this.#report = report;
    this.fields = fields;
  }

  run<T>(work: () => T): T {
    const result: { get?: () => T } = {};
    try {
      this.#inner?.run?.(() => {
        result.get ??= resultOf(work);
      });
    } catch (error) {
      this.#report(error);
    }
    return (result.get ?? resultOf(work))();
  }

  end(answer: OperationEnd): void {
    const inner = this.#inner;
    this.#inner = undefined;
    try {
      inner?.end?.(answer);
    } catch (error) {
      this.#report(error);
    }
  }
}

/** Calls a function. Returns another one that returns its value, or throws its error. */
function resultOf<T>(work: () => T): () => T {
  try {
    const value = work();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
