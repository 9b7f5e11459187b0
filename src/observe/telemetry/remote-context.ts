import {
  context,
  defaultTextMapSetter,
  isSpanContextValid,
  type Context,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  type TextMapGetter,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api';
import type { TraceFields } from '../../options/telemetry.js';
import { isObject } from '../../runtime/checks.js';

type Fields = Readonly<Record<string, unknown>>;

/** Characters of the field `baggage` (W3C Baggage, 3.3.2: at least 8192 bytes are propagated). */
const MAX_BAGGAGE = 8_192;
/** Characters of any other field (W3C Trace Context, 3.3.1.5: at least 512 of `tracestate` are propagated). */
const MAX_FIELD = 512;
/** Names of fields that a propagator may look through. */
const MAX_NAMES = 64;

/** Reads a client's fields: own properties of a bounded size that are strings. */
const GETTER: TextMapGetter<Fields> = {
  keys: (fields) => Object.keys(fields).slice(0, MAX_NAMES),
  get(fields, name) {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const most = name === 'baggage' ? MAX_BAGGAGE : MAX_FIELD;
    return typeof value === 'string' && value.length <= most ? value : undefined;
  },
};

/** The context of an operation. */
export interface Parent {
  readonly context: Context;
  readonly links: Link[];
}

/** Finds the contexts that operations belong to, and writes them for others. */
export class RemoteContexts {
  readonly #propagator: Pick<TextMapPropagator, 'inject' | 'extract'>;
  readonly #trustsClients: boolean;

  /** @param propagator - Default: the one that the app has registered. */
  constructor(propagator: TextMapPropagator | undefined, trustsClients: boolean) {
    this.#propagator = propagator ?? {
      inject: (from, carrier, setter) => propagation.inject(from, carrier, setter),
      extract: (into, carrier, getter) => propagation.extract(into, carrier, getter),
    };
    this.#trustsClients = trustsClients;
  }

  /**
   * The parent of an operation: the client's own span that its message names. The ambient span, which is that of the HTTP request,
   * is linked (semantic conventions for MCP, "Context propagation").
   *
   * @param meta - The `_meta` of the message.
   * @param hop - The context of the node that forwarded the request.
   */
  parentOf(meta: unknown, hop: TraceFields | undefined): Parent {
    const active = context.active();
    const ambient = hop === undefined ? active : this.#ambientOf(active, hop);
    if (!isObject(meta)) return { context: ambient, links: [] };
    if (!this.#trustsClients) {
      const named = spanOf(this.#propagator.extract(ROOT_CONTEXT, meta, GETTER));
      return { context: ambient, links: named === undefined ? [] : [{ context: named }] };
    }
    const remote = this.#propagator.extract(ambient, meta, GETTER);
    const around = spanOf(ambient);
    const isOther = around !== undefined && around.spanId !== spanOf(remote)?.spanId;
    return { context: remote, links: isOther ? [{ context: around }] : [] };
  }

  /** The fields that carry a context. */
  fieldsOf(from: Context): TraceFields {
    const fields: Record<string, string> = {};
    this.#propagator.inject(from, fields, defaultTextMapSetter);
    return fields;
  }

  /** Where HTTP is traced between the nodes, too, the active span continues the trace of the forwarding node. */
  #ambientOf(active: Context, hop: TraceFields): Context {
    const forwarded = this.#propagator.extract(active, hop, GETTER);
    const isContinued = trace.getSpanContext(active)?.traceId === spanOf(forwarded)?.traceId;
    return isContinued ? active : forwarded;
  }
}

function spanOf(of: Context): SpanContext | undefined {
  const span = trace.getSpanContext(of);
  return span !== undefined && isSpanContextValid(span) ? span : undefined;
}
