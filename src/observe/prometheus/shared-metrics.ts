import { Gauge, type Metric, type Registry } from 'prom-client';

interface Definition {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  readonly buckets?: readonly number[];
  /** Sets a gauge anew each time that metrics are asked for. */
  readonly collect?: () => void;
}

/** What prom-client's constructors all take. */
interface Configuration {
  name: string;
  help: string;
  labelNames: string[];
  registers: Registry[];
  buckets?: number[];
  collect?: () => void;
}

/** Adds what one router has now to a gauge. */
type Reader = (gauge: Gauge) => void;

/** Under which a gauge has its readers. Registered: the ESM and the CommonJS build may share a prom-client registry. */
const READERS = Symbol.for('express-mcp-router.readers');

/** The metrics of one registry under one prefix, which all who name the same ones share. */
export class SharedMetrics {
  readonly #registry: Registry;
  readonly #prefix: string;

  constructor(registry: Registry, prefix: string) {
    this.#registry = registry;
    this.#prefix = prefix;
  }

  /**
   * Shows a level: each scrape reads it from the source of every router that shares the registry, and adds them up.
   *
   * A source is held weakly, so that a long-lived registry does not keep the routers that an app has dropped.
   *
   * @param read - Adds the source's values to the gauge, 0 included.
   * @throws TypeError when the registry holds something else under this name.
   */
  level<Source extends object>(
    definition: Definition,
    source: Source,
    read: (source: Source, gauge: Gauge) => void,
  ): void {
    const readers = new Set<Reader>();
    const collect = (): void => {
      held.reset();
      for (const readOne of readers) readOne(held);
    };
    const held: Gauge & { [READERS]?: Set<Reader> } = this.share(
      Gauge,
      { ...definition, collect },
      (gauge: Gauge, isNew) => (isNew ? Object.assign(gauge, { [READERS]: readers }) : gauge),
    );
    const all = held[READERS];
    if (all === undefined) throw new TypeError(this.#clash(definition, Gauge));
    const weak = new WeakRef(source);
    const reader: Reader = (gauge) => {
      const living = weak.deref();
      if (living === undefined) all.delete(reader);
      else read(living, gauge);
    };
    all.add(reader);
  }

  /**
   * Gives what is counted with: the children of the metric that the registry holds under this name, or of a new one.
   *
   * @param children - Takes the children from the metric; throws when it does not know one of the labels.
   * @throws TypeError when what is held is of another kind or has other labels.
   */
  share<Kind extends Metric, Children>(
    kind: new (configuration: Configuration) => Kind,
    definition: Definition,
    children: (metric: Kind, isNew: boolean) => Children,
  ): Children {
    const name = this.#prefix + definition.name;
    const labelNames = [...(definition.labelNames ?? [])];
    const held = this.#registry.getSingleMetric(name);
    if (held === undefined) {
      const configuration = { name, help: definition.help, labelNames, registers: [this.#registry] };
      const buckets = definition.buckets && { buckets: [...definition.buckets] };
      const collect = definition.collect && { collect: definition.collect };
      return children(new kind({ ...configuration, ...buckets, ...collect }), true);
    }

    const clash = this.#clash(definition, kind);
    if (!(held instanceof kind)) throw new TypeError(clash);
    try {
      // prom-client does not tell a metric's labels, but it refuses any other number of values, and unknown names.
      held.labels(...labelNames.map(() => ''));
      return children(held, false);
    } catch (cause) {
      throw new TypeError(clash, { cause });
    }
  }

  #clash({ name, labelNames = [] }: Definition, kind: { readonly name: string }): string {
    return `mcpRouter: the registry holds a metric ${this.#prefix}${name} already, which is not a ${kind.name.toLowerCase()} with the labels (${labelNames.join(', ')}); set metrics.prefix, or give the router a registry of its own`;
  }
}

/** One value for each member of a closed set. */
export function each<Key extends string, Value>(
  keys: readonly Key[],
  make: (key: Key) => Value,
): Readonly<Record<Key, Value>> {
  return Object.fromEntries(keys.map((key) => [key, make(key)])) as Record<Key, Value>;
}

/** Makes a child's series appear without changing its value. */
export function atZero<Child extends { inc(value: number): void }>(child: Child): Child {
  child.inc(0);
  return child;
}
