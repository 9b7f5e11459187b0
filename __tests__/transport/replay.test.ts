import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { replay, storeWith } from '../support/event-stores.js';
import { EventStream, type WireMessage } from '../support/event-stream.js';
import type { RawSession } from '../support/raw-session.js';
import { startScripted, type Extra, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon } from '../support/waiting.js';
import { runs } from '../support/runs.js';

// Spec 2025-11-25, basic/transports, "Resumability and Redelivery": what a client sees of a stream, over all the replies
// that carried it, is each message once, in order, however often it went away.

/** What happens to a stream, in any order. */
type Step =
  | { readonly do: 'send'; readonly count: number }
  | { readonly do: 'read'; readonly count: number }
  | { readonly do: 'hang up' | 'resume' | 'poll' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('hang up' as const, 'resume' as const, 'poll' as const) }) },
);
/** How many turns of the event loop the store takes for each answer; the list is used again from its start. */
const delays = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 7 });

/** The kind of store, and whether a few events fill the buffer of a stream. */
const kinds = fc.record({ snapshot: fc.boolean(), lookup: fc.boolean(), smallBuffer: fc.boolean() });
type Kind = typeof kinds extends fc.Arbitrary<infer T> ? T : never;

/** @param kind - `snapshot`: a replay sends the events that were stored when it began. `lookup`: has `getStreamIdForEventId`. */
function slowStore(turns: readonly number[], { snapshot, lookup }: Kind) {
  let asked = 0;
  /** Before it does its work, and before it tells: the world may change in either. */
  const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
    await wait();
    const result = await work();
    await wait();
    return result;
  };
  const wait = async (): Promise<void> => {
    const count = turns[asked++ % turns.length]!;
    for (let turn = 0; turn < count; turn += 1) await setImmediate();
  };
  const store = storeWith((inner) => ({
    storeEvent: (streamId, message) => slowly(() => inner.storeEvent(streamId, message)),
    getStreamIdForEventId: (eventId) => slowly(() => inner.getStreamIdForEventId(eventId)),
    replayEventsAfter: (eventId, to) =>
      slowly(async () => {
        if (!snapshot) return inner.replayEventsAfter(eventId, to);
        const { streamId, events } = await replay(inner, eventId);
        for (const { id, message } of events) {
          await wait();
          await to.send(id, message);
        }
        return streamId;
      }),
  }));
  if (!lookup) delete store.getStreamIdForEventId;
  return store;
}

/** A client that reads a stream as the test says, and knows what it has seen. */
class Reader {
  readonly seen: unknown[] = [];
  #stream: EventStream | undefined;
  #hangUp = new AbortController();
  #lastEventId: string | undefined;

  constructor(readonly session: RawSession) {}

  get open(): boolean {
    return this.#stream !== undefined;
  }

  async begin(open: (signal: AbortSignal) => Promise<Response>): Promise<void> {
    this.#stream = new EventStream(await open(this.#hangUp.signal));
    this.#lastEventId = (await this.#stream.block())!.id;
  }

  /** Resumes after what it has read, whether or not its stream is still open. */
  async resume(): Promise<void> {
    const before = this.#hangUp;
    this.#hangUp = new AbortController();
    const response = await this.session.get(this.#lastEventId, this.#hangUp.signal);
    before.abort();
    this.#stream = new EventStream(response);
  }

  hangUp(): void {
    this.#hangUp.abort();
    this.#stream = undefined;
  }

  async read(count: number): Promise<void> {
    for (let n = 0; n < count; n += 1) {
      const { id, message } = await soon('an event', this.#stream!.event());
      this.#saw(id, message);
    }
  }

  async readToEnd(): Promise<void> {
    const stream = this.#stream!;
    for (let block = await soon('a block', stream.block()); block; block = await soon('a block', stream.block())) {
      if (block.data !== '') this.#saw(block.id, JSON.parse(block.data) as WireMessage);
    }
    this.#stream = undefined;
  }

  #saw(id: string | undefined, message: WireMessage): void {
    this.#lastEventId = id;
    this.seen.push('method' in message ? message.params.data : (message as WireMessage).result);
  }
}

/** Runs the steps against a stream; `say` sends on it, `poll` has the server end the reply that carries it. */
async function run(
  steps: readonly Step[],
  reader: Reader,
  say: (n: number) => void,
  poll: () => void,
): Promise<number> {
  let sent = 0;
  let polled = false;
  for (const each of steps) {
    if (each.do === 'send') for (let n = 0; n < each.count; n += 1) say(sent++);
    if (each.do === 'read' && reader.open && !polled)
      await reader.read(Math.min(each.count, sent - reader.seen.length));
    if (each.do === 'hang up') reader.hangUp();
    if (each.do === 'poll') {
      poll();
      polled = true;
    }
    if (each.do === 'resume') {
      await reader.resume();
      polled = false;
    }
  }
  return sent;
}

describe('a client gets each message of a stream once, in order', () => {
  let harness: Scripted;
  afterEach(() => harness.close());

  /** A router whose handler `work` sends the messages of the test, then its answer. */
  const startWork = async (turns: readonly number[], kind: Kind) => {
    const started = new Deferred<Extra>();
    const answer = new Deferred<object>();
    const work: Method = (_params, extra) => (started.resolve(extra), answer.promise);
    harness = await startScripted(
      { work },
      {
        eventStore: slowStore(turns, kind),
        ...(kind.smallBuffer && { maxStreamBuffer: 300 }),
      },
    );
    return { session: await harness.session(), started, answer };
  };

  test('on the stream of a request, to its answer', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), delays, kinds, async (steps, turns, kind) => {
        const { session, started, answer } = await startWork(turns, kind);
        const reader = new Reader(session);
        await reader.begin((signal) => session.request(1, 'work', {}, signal));
        const extra = await started.promise;
        const say = (data: number) =>
          void extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } });

        const sent = await run(steps, reader, say, () => extra.closeSSEStream?.());
        answer.resolve({ done: true });
        await reader.resume();
        await reader.readToEnd();

        expect(reader.seen).toEqual([...Array(sent).keys(), { done: true }]);
      }),
      { numRuns: runs(15), plugins: [fc.afterEach(() => harness.close())] },
    );
  });

  test('on the standalone stream', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), delays, kinds, async (steps, turns, kind) => {
        const { session, started } = await startWork(turns, kind);
        const working = session.request(1, 'work').then((response) => response.text());
        const { closeStandaloneSSEStream } = await started.promise;
        const reader = new Reader(session);
        await reader.begin((signal) => session.get(undefined, signal));
        const say = (data: number) => void harness.servers[0]!.sendLoggingMessage({ level: 'info', data });

        const sent = await run(steps, reader, say, () => closeStandaloneSSEStream?.());
        await reader.resume();
        await reader.read(sent - reader.seen.length);
        await session.terminate();
        await reader.readToEnd();
        await working;

        expect(reader.seen).toEqual([...Array(sent).keys()]);
      }),
      { numRuns: runs(15), plugins: [fc.afterEach(() => harness.close())] },
    );
  });
});
