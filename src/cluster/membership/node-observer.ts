import type { Clock } from '../../runtime/clock.js';
import type { SendCommand } from '../../stores/redis-client.js';
import { DEAD, decodeLease, fieldsOf, LEFT, nodesKey, REPLACE_FIELD, type Lease } from './lease.js';

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
 * - when its field was the same in all readings for `lease`. The time starts when this node *received* the first of these
 *   readings. It ends with a reading that was *sent* after it. A missing field is a state like any other: it proves nothing.
 *
 * Why no owner acts then: let the owner's last renewal be sent at S and stored at X. Observers received its counter after X, so
 * their time started after S, and the owner stopped at S + `fenceAfter`. An owner without a renewal until then has lapsed, and an
 * answer that it handles later does not count. See docs/scaling.md, "Why two nodes never own a session".
 */
export class NodeObserver {
  readonly #init: NodeObserverInit;
  #fields: ReadonlyMap<string, Field> = new Map();
  /** Node IDs without a field: when this node received the first reading without it. */
  readonly #missing = new Map<string, number>();
  /** Node IDs that this node has a reason to ask for, and that were in no reading so far. */
  readonly #wanted = new Set<string>();
  /** Node IDs of memberships that are over. None of them ever becomes valid again. Oldest first. */
  readonly #over = new Set<string>();
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

  /** When the last reading was sent that was answered; -Infinity before the first. */
  get sentAt(): number {
    return this.#sentAt;
  }

  /** `missing`: the node may be alive, but its address is not known. `over`: it is not a member, and never will be again. */
  stateOf(id: string): Lease | 'missing' | 'over' {
    return this.#over.has(id) ? 'over' : (this.#fields.get(id)?.lease ?? 'missing');
  }

  /** The leases of all memberships that are not over, as they were last read. */
  leases(): Lease[] {
    return [...this.#fields].flatMap(([id, { lease }]) => (lease === undefined || this.#over.has(id) ? [] : [lease]));
  }

  /**
   * Resolves when the state of a node is known from a reading that was sent at `after` or later. A state that was the same for
   * `lease` is read once more.
   */
  async observe(id: string, after: number): Promise<void> {
    const since = this.#fields.get(id)?.since ?? this.#missing.get(id);
    if (since === undefined) {
      this.#wanted.add(id);
      return this.read(this.#init.clock.now());
    }
    const dueAt = since + this.#init.timing.lease;
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

  /** Takes a membership for over whose process is proved to be gone, and tells the other nodes. */
  died(id: string): void {
    const text = this.#fields.get(id)?.text;
    this.#end(id);
    if (text !== undefined) this.#replace(id, text, DEAD);
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
    const { lease } = this.#init.timing;
    const before = this.#fields;
    const fields = new Map<string, Field>();
    for (const [id, text] of texts) {
      const known = before.get(id);
      const field = known?.text === text ? known : { text, lease: leaseOf(id, text), since: receivedAt };
      fields.set(id, field);
      this.#missing.delete(id);
      if (text === LEFT || text === DEAD || sentAt >= field.since + lease) this.#end(id);
    }
    for (const [id, since] of this.#missing) {
      if (sentAt < since + lease) continue;
      this.#missing.delete(id);
      this.#end(id);
    }
    for (const id of [...before.keys(), ...wanted]) {
      if (!fields.has(id) && !this.#over.has(id) && !this.#missing.has(id)) this.#missing.set(id, receivedAt);
    }
    this.#fields = fields;
    this.#sentAt = sentAt;
  }

  #end(id: string): void {
    this.#over.delete(id);
    this.#over.add(id);
    const [oldest] = this.#over;
    if (this.#over.size > MOST_OVER && oldest !== undefined) this.#over.delete(oldest);
  }

  #removeOld(): void {
    const { clock, timing } = this.#init;
    for (const [id, { text, since }] of this.#fields) {
      if (clock.now() - since >= REMOVED_AFTER * timing.lease) this.#replace(id, text, '');
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
