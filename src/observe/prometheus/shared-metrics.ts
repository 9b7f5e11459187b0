import { Gauge, type Metric, type Registry } from 'prom-client';

interface Definition {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  readonly buckets?: readonly number[];
  /** Sets a gauge at each scrape. */
  readonly collect?: () => void;
}

/** The argument that all constructors of prom-client accept. */
interface Configuration {
  name: string;
  help: string;
  labelNames: string[];
  registers: Registry[];
  buckets?: number[];
  collect?: () => void;
}

/** Reads one router. */
type Reader = (gauge: Gauge) => unknown;

/** The key of a gauge's readers. `Symbol.for`, as the ESM and the CommonJS build may share a prom-client registry. */
const READERS = Symbol.for('express-mcp-router.readers');

/** The metrics of one registry under one prefix. Routers with the same registry and prefix share them. */
export class SharedMetrics {
  readonly #registry: Registry;
  readonly #prefix: string;

  constructor(registry: Registry, prefix: string) {
    this.#registry = registry;
    this.#prefix = prefix;
  }

  /**
   * Adds a gauge whose value is read at each scrape. It is the sum over the sources of all routers that share the registry.
   *
   * A source is referred to weakly, so that a long-lived registry does not keep routers that the app has dropped.
   *
   * @param read - Adds the source's values to the gauge, also a value of 0.
   * @throws TypeError when the registry has another metric with this name.
   */
  level<Source extends object>(
    definition: Definition,
    source: Source,
    read: (source: Source, gauge: Gauge) => void,
  ): void {
    this.#scraped(definition, source, read, (gauge, readers) => {
      gauge.reset();
      for (const readOne of readers) readOne(gauge);
    });
  }

  /**
   * Like {@link level}, but the gauge shows the greatest value of the sources, or infinity when no source has a value.
   *
   * @param read - Returns the value of the source, or undefined when it has none.
   */
  greatest<Source extends object>(
    definition: Definition,
    source: Source,
    read: (source: Source) => number | undefined,
  ): void {
    this.#scraped(definition, source, read, (gauge, readers) => {
      const values = [...readers].map((readOne) => readOne(gauge)).filter((value) => typeof value === 'number');
      gauge.set(values.length === 0 ? Infinity : Math.max(...values));
    });
  }

  #scraped<Source extends object>(
    definition: Definition,
    source: Source,
    read: (source: Source, gauge: Gauge) => unknown,
    show: (gauge: Gauge, readers: ReadonlySet<Reader>) => void,
  ): void {
    const readers = new Set<Reader>();
    const collect = (): void => show(shared, readers);
    const shared: Gauge & { [READERS]?: Set<Reader> } = this.share(
      Gauge,
      { ...definition, collect },
      (gauge: Gauge, isNew) => (isNew ? Object.assign(gauge, { [READERS]: readers }) : gauge),
    );
    const all = shared[READERS];
    if (all === undefined) throw new TypeError(this.#clash(definition, Gauge));
    const weak = new WeakRef(source);
    const reader: Reader = (gauge) => {
      const living = weak.deref();
      if (living !== undefined) return read(living, gauge);
      all.delete(reader);
      return undefined;
    };
    all.add(reader);
  }

  /**
   * The children of the metric with this name: that of the registry if it has one, else a new one.
   *
   * @param children - Returns the children of the metric. Throws when the metric lacks one of the labels.
   * @throws TypeError when the metric in the registry is of another kind or has other labels.
   */
  share<Kind extends Metric, Children>(
    kind: new (configuration: Configuration) => Kind,
    definition: Definition,
    children: (metric: Kind, isNew: boolean) => Children,
  ): Children {
    const name = this.#prefix + definition.name;
    const labelNames = [...(definition.labelNames ?? [])];
    const existing = this.#registry.getSingleMetric(name);
    if (existing === undefined) {
      const configuration = { name, help: definition.help, labelNames, registers: [this.#registry] };
      const buckets = definition.buckets && { buckets: [...definition.buckets] };
      const collect = definition.collect && { collect: definition.collect };
      return children(new kind({ ...configuration, ...buckets, ...collect }), true);
    }

    const clash = this.#clash(definition, kind);
    if (!(existing instanceof kind)) throw new TypeError(clash);
    try {
      // prom-client does not expose a metric's labels, but it refuses any other number of values, and unknown names.
      existing.labels(...labelNames.map(() => ''));
      return children(existing, false);
    } catch (cause) {
      throw new TypeError(clash, { cause });
    }
  }

  #clash({ name, labelNames = [] }: Definition, kind: { readonly name: string }): string {
    return `mcpRouter: the registry holds a metric ${this.#prefix}${name} already, which is not a ${kind.name.toLowerCase()} with the labels (${labelNames.join(', ')}); set metrics.prefix, or give the router a registry of its own`;
  }
}

/** Makes one value for each member of a closed set. */
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
