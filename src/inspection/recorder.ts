import type { CoreEvents } from '../events.js';
import { wallTime, type Clock } from '../runtime/clock.js';
import type { Emitter } from '../runtime/emitter.js';
import { RATES, type Rates, type TimelineEntry } from './views.js';

/** How long the recorder runs after the last request of a page, in ms. A visible page asks every two seconds, a hidden one never. */
const LOOKED_FOR = 20_000;
/** The number of whole seconds that the rates cover. They also cover the second that has begun. */
const SECONDS = 10;
const BUCKETS = SECONDS + 1;
const MAX_TIMELINES = 32;
const MAX_ENTRIES = 200;
const MAX_TEXT = 128;

type Facts = Readonly<Record<string, string | number | undefined>>;
type Count = (typeof RATES)[number];
type Listener = (...args: never[]) => void;

const newCounts = (): Record<Count, number> => ({ settled: 0, failed: 0, opened: 0, closed: 0, rejected: 0 });

/** The newest entries of one session. */
class Timeline {
  lookedAt = 0;
  readonly #entries: TimelineEntry[] = [];
  #count = 0;

  get entries(): readonly TimelineEntry[] {
    return this.#entries;
  }

  add(at: number, event: string, facts: Facts): void {
    this.#count += 1;
    const known = Object.entries(facts).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, typeof value === 'string' ? value.slice(0, MAX_TEXT) : value] as const],
    );
    this.#entries.push({ number: this.#count, at, event, facts: Object.fromEntries(known) });
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift();
  }
}

/**
 * Counts events, and keeps timelines of the sessions that operators look at. It listens only while an operator looks, so that it costs
 * nothing at other times.
 */
export class Recorder {
  readonly #events: Emitter<CoreEvents>;
  readonly #clock: Clock;
  readonly #listeners: readonly (readonly [keyof CoreEvents, Listener])[];
  readonly #timelines = new Map<string, Timeline>();
  /** Events of each of the last seconds, by the second modulo their number. */
  readonly #seconds = new Map<number, { readonly second: number; readonly counts: Record<Count, number> }>();
  /** When the recorder began to listen. Undefined while it does not. */
  #since: number | undefined;
  #lookedAt = 0;

  constructor(events: Emitter<CoreEvents>, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
    this.#listeners = this.#createListeners();
  }

  get isListening(): boolean {
    return this.#since !== undefined;
  }

  /** Called when an operator looks. */
  look(): void {
    this.#lookedAt = this.#clock.now();
    if (this.#since !== undefined) return;
    this.#since = this.#lookedAt;
    for (const [name, listener] of this.#listeners) this.#events.on(name, listener as never);
    this.#checkLater(LOOKED_FOR);
  }

  /** The timeline of a session, from now on. */
  timelineOf(sessionId: string): readonly TimelineEntry[] {
    this.look();
    const timeline = this.#timelines.get(sessionId) ?? new Timeline();
    timeline.lookedAt = this.#lookedAt;
    // The least recently looked at is the first.
    this.#timelines.delete(sessionId);
    this.#timelines.set(sessionId, timeline);
    for (const [id, { lookedAt }] of this.#timelines) {
      if (this.#timelines.size > MAX_TIMELINES || this.#lookedAt - lookedAt > LOOKED_FOR) this.#timelines.delete(id);
    }
    return timeline.entries;
  }

  /** The sessions whose timelines are kept. Some may have ended. */
  watched(): Iterable<string> {
    return this.#timelines.keys();
  }

  rates(): Rates {
    const now = this.#clock.now();
    const first = Math.floor(now / 1000) - SECONDS;
    const span = Math.max(1, now / 1000 - Math.max(first, (this.#since ?? now) / 1000));
    const sums = newCounts();
    for (const { second, counts } of this.#seconds.values()) {
      if (second >= first) for (const name of RATES) sums[name] += counts[name];
    }
    for (const name of RATES) sums[name] = Math.round((sums[name] / span) * 100) / 100;
    return sums;
  }

  #checkLater(ms: number): void {
    this.#clock.setTimeout(() => {
      const remaining = this.#lookedAt + LOOKED_FOR - this.#clock.now();
      if (remaining > 0) this.#checkLater(remaining);
      else this.#stop();
    }, ms);
  }

  #stop(): void {
    for (const [name, listener] of this.#listeners) this.#events.off(name, listener as never);
    this.#since = undefined;
    this.#seconds.clear();
    this.#timelines.clear();
  }

  #count(name: Count): void {
    const second = Math.floor(this.#clock.now() / 1000);
    const known = this.#seconds.get(second % BUCKETS);
    const bucket = known?.second === second ? known : { second, counts: newCounts() };
    this.#seconds.set(second % BUCKETS, bucket);
    bucket.counts[name] += 1;
  }

  #add(sessionId: string | undefined, event: string, facts: Facts = {}): void {
    const timeline = sessionId === undefined ? undefined : this.#timelines.get(sessionId);
    timeline?.add(wallTime(this.#clock), event, facts);
  }

  #createListeners(): readonly (readonly [keyof CoreEvents, Listener])[] {
    const on = <K extends keyof CoreEvents>(name: K, listener: (...args: CoreEvents[K]) => void) =>
      [name, listener as unknown as Listener] as const;
    return [
      on('opened', ({ id }) => {
        this.#count('opened');
        this.#add(id, 'opened');
      }),
      on('closed', ({ id }, reason) => {
        this.#count('closed');
        this.#add(id, 'closed', { reason });
      }),
      on('rejected', (reason, { sessionId }) => {
        this.#count('rejected');
        this.#add(sessionId, 'rejected', { reason });
      }),
      on('requestSettled', ({ method, tool, errorType }, outcome, durationMs, { sessionId }) => {
        this.#count('settled');
        if (outcome !== 'ok' && outcome !== 'cancelled') this.#count('failed');
        const facts = { method, tool, outcome, error: errorType, ms: Math.round(durationMs * 10) / 10 };
        this.#add(sessionId, 'settled', facts);
      }),
      on('restored', ({ id }) => this.#add(id, 'restored')),
      on('adopted', ({ id, principal }) => this.#add(id, 'adopted', { principal })),
      on('orphaned', ({ id }, cause) => this.#add(id, 'orphaned', { cause })),
      on('revived', ({ id }) => this.#add(id, 'revived')),
      on('hibernated', ({ id }) => this.#add(id, 'hibernated')),
      on('claimed', (id, from, epoch) => this.#add(id, 'claimed', { from, epoch })),
      on('streamOpened', (kind, { sessionId }) => this.#add(sessionId, 'stream opened', { kind })),
      on('streamClosed', (kind, reason, { sessionId }) => this.#add(sessionId, 'stream closed', { kind, reason })),
      on('failure', (what, _error, sessionId) => this.#add(sessionId, 'failure', { what })),
    ];
  }
}
