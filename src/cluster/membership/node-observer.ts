import type { Clock } from '../../runtime/clock.js';
import type { SendCommand } from '../../stores/redis-client.js';
import { counterOf, DEAD, decodeLease, fieldsOf, LEFT, nodesKey, REPLACE_FIELD, type Lease } from './lease.js';

/** A field that has not changed for so many leases is removed. */
const REMOVED_AFTER = 10;

/** IDs of memberships that are known to be over, at most. Without its ID here, a membership is observed once more. */
const MOST_OVER = 10_000;

/** A field as it was last read. */
interface Field {
  readonly text: string;
  /** Undefined for a field that is no lease. */
  readonly lease: Lease | undefined;
  /** When this node received the first of the readings that all had this text. */
  readonly since: number;
  /** How long the field must stay the same until the membership is over, in ms. */
  readonly wait: number;
}

export interface NodeObserverInit {
  readonly send: SendCommand;
  readonly prefix: string;
  readonly clock: Clock;
  readonly timing: { readonly lease: number; readonly renewInterval: number };
}

/**
 * Observes the memberships of all nodes, to know which of them are over. Neither Redis' clock nor a wall clock plays a part.
 *
 * A membership is over:
 * - when its field says so: its own node wrote `left`, or a node on the same machine proved its process gone and wrote `dead`;
 * - when its field was the same in all readings for `lease`: the option of this node or that of the other one, whichever is
 *   longer, as a rolling restart may change the option. The time starts when this node *received* the first of these
 *   readings. It ends with a reading that was *sent* after it. A missing field is a state like any other: it proves nothing.
 *
 * Why no owner acts then: let the owner's last renewal be sent at S and stored at X. Observers received its counter after X, so
 * their time started after S, and the owner stopped at S + `fenceAfter`. An owner without a renewal until then has lapsed, and an
 * answer that it handles later does not count. See docs/scaling.md, "Why two nodes never own a session".
 */
export class NodeObserver {
  readonly #init: NodeObserverInit;
  #fields: ReadonlyMap<string, Field> = new Map();
  /** Node IDs without a field. `since`: when this node received the first reading without it. */
  readonly #missing = new Map<string, Pick<Field, 'since' | 'wait'>>();
  /** Node IDs that this node has a reason to ask for, and that no reading had so far. */
  readonly #wanted = new Set<string>();
  /**
   * Node IDs of memberships that are over. Oldest first. A proved end is final. An end by observation is not: the readings may
   * have come from a Redis that the node no longer used.
   */
  readonly #over = new Map<string, 'proved' | 'observed'>();
  #sentAt = -Infinity;
  #reading: Promise<void> | undefined;
  #timer: unknown;
  #stopped = false;

  constructor(init: NodeObserverInit) {
    this.#init = init;
  }

  /** Reads the hash each `renewInterval` from now on. */
  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#init.clock.clearTimeout(this.#timer);
  }

  /**
   * Begins as if this node had started now. Called when this node was fenced, and when Redis went back to an older state: this node may
   * have read from a Redis that others have left, or have read nothing while others renewed their leases.
   */
  startAnew(): void {
    this.#fields = new Map();
    this.#missing.clear();
    this.#over.clear();
    this.#sentAt = -Infinity;
  }

  /** When the last reading was sent that was answered; -Infinity before the first. */
  get sentAt(): number {
    return this.#sentAt;
  }

  /** `missing`: the node may be alive, but its address is not known. `over`: it is not a member. */
  stateOf(id: string): Lease | 'missing' | 'over' {
    return this.#over.has(id) ? 'over' : (this.#fields.get(id)?.lease ?? 'missing');
  }

  /** Whether the end is proved. The node may have acted until then. An observed end comes `lease - fenceAfter` after the node stopped. */
  isProvedOver(id: string): boolean {
    return this.#over.get(id) === 'proved';
  }

  /** The leases of all memberships that are not over, as they were last read. */
  leases(): Lease[] {
    return [...this.#fields].flatMap(([id, { lease }]) => (lease === undefined || this.#over.has(id) ? [] : [lease]));
  }

  /**
   * Resolves when the state of a node is known from a reading that was sent at `after` or later. A state that was the same for
   * `lease` is read once more. So is an observed end each time: this node may have moved to another Redis since, as after a
   * fail-over, where the node has renewed its lease.
   */
  async observe(id: string, after: number): Promise<void> {
    const end = this.#over.get(id);
    if (end !== undefined) return end === 'proved' ? undefined : this.read(this.#init.clock.now());
    const known = this.#fields.get(id) ?? this.#missing.get(id);
    if (known === undefined) {
      this.#wanted.add(id);
      return this.read(this.#init.clock.now());
    }
    const dueAt = known.since + known.wait;
    return this.read(dueAt <= this.#init.clock.now() ? Math.max(after, dueAt) : after);
  }

  /**
   * Resolves when a reading that was sent at `after` or later is taken in. Callers share readings.
   *
   * Rejects when Redis does not answer: then nothing is known.
   */
  async read(after: number): Promise<void> {
    while (this.#sentAt < after) {
      this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
      await this.#reading;
    }
  }

  /** Ends a membership whose process is proved to be gone, for the other nodes too. */
  died(id: string): void {
    this.#end(id, 'proved');
    // Whatever the field is: the node may have renewed its lease since the last reading.
    this.#replace(id, '', DEAD);
  }

  async #run(): Promise<void> {
    const { clock, timing } = this.#init;
    while (!this.#stopped) {
      const now = clock.now();
      const wait = this.#sentAt + timing.renewInterval - now;
      // After a failure the next reading follows in its turn: a missing reading only delays a claim.
      if (wait <= 0)
        await this.read(now)
          .then(() => this.#removeOld())
          .catch(() => undefined);
      await this.#sleep(wait > 0 ? wait : timing.renewInterval);
    }
  }

  async #read(): Promise<void> {
    const { clock, send, prefix } = this.#init;
    const wanted = [...this.#wanted];
    const sentAt = clock.now();
    const fields = fieldsOf(await send('HGETALL', nodesKey(prefix)));
    for (const id of wanted) this.#wanted.delete(id);
    this.#take(fields, wanted, sentAt, clock.now());
  }

  #take(texts: ReadonlyMap<string, string>, wanted: readonly string[], sentAt: number, receivedAt: number): void {
    // A counter only grows. If one is lower, Redis went back to an older state, and this node may have missed counters that it lost.
    if ([...texts].some(([id, text]) => this.#isOlder(id, text))) this.startAnew();
    const before = this.#fields;
    const fields = new Map<string, Field>();
    for (const [id, text] of texts) {
      const known = before.get(id);
      const field = known?.text === text ? known : this.#newField(id, text, receivedAt);
      fields.set(id, field);
      this.#missing.delete(id);
      if (text === LEFT || text === DEAD) this.#end(id, 'proved');
      else if (sentAt >= field.since + field.wait) this.#end(id, 'observed');
      else if (field !== known && field.lease !== undefined && this.#over.get(id) === 'observed') this.#over.delete(id);
    }
    for (const [id, { since, wait }] of this.#missing) {
      if (sentAt < since + wait) continue;
      this.#missing.delete(id);
      this.#end(id, 'observed');
    }
    for (const id of [...before.keys(), ...wanted]) {
      if (fields.has(id) || this.#over.has(id) || this.#missing.has(id)) continue;
      this.#missing.set(id, { since: receivedAt, wait: before.get(id)?.wait ?? this.#init.timing.lease });
    }
    this.#fields = fields;
    this.#sentAt = sentAt;
  }

  #isOlder(id: string, text: string): boolean {
    const known = this.#fields.get(id)?.text;
    return known !== undefined && known !== text && counterOf(text) < counterOf(known);
  }

  #newField(id: string, text: string, since: number): Field {
    const lease = leaseOf(id, text);
    // A field that is no lease, or that comes back, may be that of a node with a longer lease.
    const before = this.#fields.get(id) ?? this.#missing.get(id);
    const wait = Math.max(this.#init.timing.lease, lease?.duration ?? before?.wait ?? 0);
    return { text, lease, since, wait };
  }

  #end(id: string, how: 'proved' | 'observed'): void {
    const known = this.#over.get(id);
    this.#over.delete(id);
    this.#over.set(id, known === 'proved' ? known : how);
    const [oldest] = this.#over.keys();
    if (this.#over.size > MOST_OVER && oldest !== undefined) this.#over.delete(oldest);
  }

  #removeOld(): void {
    const { clock } = this.#init;
    for (const [id, { text, since, wait }] of this.#fields) {
      if (clock.now() - since >= REMOVED_AFTER * wait) this.#replace(id, text, '');
    }
  }

  #replace(id: string, text: string, by: string): void {
    const { send, prefix } = this.#init;
    // Another node does it when Redis does not answer this one.
    REPLACE_FIELD.run(send, nodesKey(prefix), id, text, by).catch(() => undefined);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => (this.#timer = this.#init.clock.setTimeout(resolve, ms)));
  }
}

function leaseOf(id: string, text: string): Lease | undefined {
  try {
    return { ...decodeLease(text), id };
  } catch {
    return undefined;
  }
}
