import type { CoreEvents, Party, SessionEvents, SessionReports } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';

/** The event of the core from which each report is made. */
interface Sources {
  settled: 'requestSettled';
  rejected: 'rejected';
  fenced: 'fenced';
  streamOpened: 'streamOpened';
  streamClosed: 'streamClosed';
}

type Reporters = {
  readonly [K in keyof Sources]: {
    readonly source: Sources[K];
    readonly report: (...args: CoreEvents[Sources[K]]) => SessionReports[K];
  };
};

/** The party alone, as the core passes parts of itself that have more. */
const partyOf = ({ principal, sessionId }: Party): Party => ({ principal, sessionId });

const REPORTERS: Reporters = {
  settled: {
    source: 'requestSettled',
    report: (request, outcome, durationMs, party) => {
      const { method, tool, era = 'session', errorType } = request;
      return { method, tool, era, outcome, errorType, durationMs, ...partyOf(party) };
    },
  },
  rejected: { source: 'rejected', report: (reason, party) => ({ reason, ...partyOf(party) }) },
  fenced: { source: 'fenced', report: (node, why) => ({ node, why }) },
  streamOpened: { source: 'streamOpened', report: (kind, party) => ({ kind, ...partyOf(party) }) },
  streamClosed: { source: 'streamClosed', report: (kind, reason, party) => ({ kind, reason, ...partyOf(party) }) },
};

type Listener = (...args: never[]) => unknown;
type Reporter = { readonly source: keyof CoreEvents; readonly report: Listener };
const BY_NAME: ReadonlyMap<string, Reporter> = new Map(Object.entries(REPORTERS));

/**
 * The events of `router.sessions`, made from those of the core. A report is made only for a listener, so that an event without a
 * listener costs nothing.
 */
export class AppEvents {
  readonly #core: Emitter<CoreEvents>;
  /** The core's listener for each listener of the app, by the name of the event. It is needed to remove the listener. */
  readonly #adapters = new WeakMap<Listener, Map<string, Listener>>();

  constructor(core: Emitter<CoreEvents>) {
    this.#core = core;
  }

  /** Adds a listener, or takes it off. */
  change<K extends keyof SessionEvents>(
    how: 'on' | 'once' | 'off',
    name: K,
    listener: (...args: SessionEvents[K]) => unknown,
  ): void {
    const reporter = BY_NAME.get(name);
    if (reporter === undefined) this.#core[how](name as keyof CoreEvents, listener as never);
    else this.#core[how](reporter.source, this.#adapterOf(name, listener, reporter) as never);
  }

  #adapterOf(name: string, listener: Listener, { report }: Reporter): Listener {
    const adapters = this.#adapters.get(listener) ?? new Map<string, Listener>();
    this.#adapters.set(listener, adapters);
    const adapter = adapters.get(name) ?? ((...args) => listener(report(...args) as never));
    adapters.set(name, adapter);
    return adapter;
  }
}
