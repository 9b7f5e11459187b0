import { setTimeout as sleep } from 'node:timers/promises';
import { sessionHash } from '../../src/stores/session-event-store.js';
import { EventStream, type Block } from '../support/event-stream.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { RawSession } from '../support/raw-session.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { NodeProcess, type NodeInit } from './node-process.js';
import { Random, SEED } from './random.js';

/** `npm run chaos` sets more. */
const EVENTS = Number(process.env.CHAOS_EVENTS ?? 1_500);
const SESSIONS = 4;
/** Events that one call sends on each of its two streams. */
const EACH = 25;
/** How often the server's process is killed, in events. */
const KILLS = [Math.min(Math.round(EVENTS / 3), 1_500), Math.min(Math.round(EVENTS / 1.5), 2_500)] as const;
/** A connection is cut after so many bytes. */
const CUTS = [1, 20_000] as const;

const random = new Random(SEED);

let startNode: (init: NodeInit) => Promise<NodeProcess>;
let redis: RedisServer;
let asked: ConnectedRedis;
let proxy: FaultProxy;
let node: NodeProcess;
// Downloads Debian's package where no redis-server is there yet.
beforeAll(async () => {
  startNode = NodeProcess.build();
  redis = await RedisServer.start();
  asked = await connectRedis(redis.url);
  node = await startNode({ port: 0, redisUrl: redis.url });
  proxy = await FaultProxy.start(node.port);
}, 300_000);
afterAll(async () => {
  await node.kill();
  await proxy.close();
  asked.close();
  await redis.stop();
});

interface Event {
  readonly id: string;
  readonly message: unknown;
}

const streamOf = (eventId: string): string => eventId.slice(0, eventId.lastIndexOf('_'));

/** A client that reads its streams by hand, and resumes each wherever it was cut. */
class Reader {
  /** The received events by stream, in order, also of a stream that was cut. */
  readonly received = new Map<string, Event[]>();
  /** What should never be answered. */
  readonly wrong: string[] = [];
  /** Calls by how they ended. */
  readonly calls = { answered: 0, lost: 0, unheard: 0 };
  events = 0;
  /** Ends the reply that carries the standalone stream. */
  #hangUp = new AbortController();
  #stopped = false;
  #calls = 0;

  constructor(readonly session: RawSession) {}

  /** Opens the standalone stream; once that has begun, everything on it can be resumed. Listens until `stop`. */
  async listen(): Promise<{ ended: Promise<void> }> {
    const stream = await this.session.stream(undefined, this.#hangUp.signal);
    const { id } = (await stream.block())!;
    return { ended: this.#listen(stream, id!) };
  }

  stop(): void {
    this.#stopped = true;
    this.#hangUp.abort();
  }

  /** Has numbered events sent on both streams, and reads the call's own to its end. */
  async call(): Promise<void> {
    const call = (this.#calls += 1);
    const response = await this.session.request(call, 'emit', { call, count: EACH }).catch(() => undefined);
    const stream = response && this.#streamOf(response);
    let end = await this.#read(stream);
    // Nothing was ever heard of its stream, so that nothing can be resumed.
    if (end.lastEventId === undefined) {
      this.calls.unheard += 1;
      return sleep(5);
    }
    while (!end.ended) end = await this.#resume(end.lastEventId!);
    this.calls[end.last?.includes('"result"') === true ? 'answered' : 'lost'] += 1;
  }

  async #listen(first: EventStream, id: string): Promise<void> {
    let { lastEventId } = await this.#read(first, id);
    while (!this.#stopped) {
      this.#hangUp = new AbortController();
      ({ lastEventId } = await this.#resume(lastEventId!, this.#hangUp.signal));
    }
  }

  /** Goes on with a stream after an event; one that has nothing more to give has ended. */
  async #resume(lastEventId: string, signal?: AbortSignal): Promise<ReadEnd> {
    const response = await this.session.get(lastEventId, signal).catch(() => undefined);
    if (response?.status === 204) return { lastEventId, ended: true, last: this.#lastOf(lastEventId) };
    if (response === undefined) await sleep(5);
    return this.#read(response && this.#streamOf(response), lastEventId);
  }

  #streamOf(response: Response): EventStream | undefined {
    if (response.status === 200) return new EventStream(response);
    this.wrong.push(String(response.status));
    return undefined;
  }

  /** Reads until the stream ends or is cut. */
  async #read(stream: EventStream | undefined, lastEventId?: string): Promise<ReadEnd> {
    let last: string | undefined;
    try {
      for (let block = await stream?.block(); block !== undefined; block = await stream?.block()) {
        lastEventId = block.id ?? lastEventId;
        last = block.data === '' ? last : block.data;
        this.#take(block);
      }
      return { lastEventId, ended: stream !== undefined, last };
    } catch {
      return { lastEventId, ended: false, last };
    }
  }

  #take({ id, data }: Block): void {
    if (id === undefined) return;
    const streamId = streamOf(id);
    const events = this.received.get(streamId) ?? [];
    this.received.set(streamId, events);
    // The event that a stream begins with.
    if (data === '') return;
    events.push({ id, message: JSON.parse(data) });
    this.events += 1;
  }

  #lastOf(lastEventId: string): string | undefined {
    return JSON.stringify(this.received.get(streamOf(lastEventId))?.at(-1)?.message);
  }
}

interface ReadEnd {
  readonly lastEventId: string | undefined;
  /** As it should, and not because it was cut. */
  readonly ended: boolean;
  /** The data of the last event. */
  readonly last: string | undefined;
}

/** What Redis holds of a session, by stream: all events that have a message. */
async function storedOf({ id }: RawSession): Promise<Map<string, Event[]>> {
  const prefix = sessionHash(id);
  const entries = (await asked.ask('XRANGE', `mcp:{${prefix}}:events`, '-', '+')) as [string, string[]][];
  const stored = new Map<string, Event[]>();
  for (const [entryId, [, rest, , json]] of entries) {
    const streamId = `${prefix}${rest!}`;
    const message = JSON.parse(json!) as Record<string, unknown>;
    const events = stored.get(streamId) ?? [];
    stored.set(streamId, events);
    // The event that a stream begins with is no message.
    if ('jsonrpc' in message) events.push({ id: `${streamId}_${entryId}`, message });
  }
  return stored;
}

/** The numbers that the server gave to the events, by call. */
function numbersOf(events: readonly Event[]): Map<number, number[]> {
  const numbers = new Map<number, number[]>();
  for (const { message } of events) {
    const { data } = (message as { params?: { data: { call: number; n: number } } }).params ?? {};
    if (data !== undefined) numbers.set(data.call, [...(numbers.get(data.call) ?? []), data.n]);
  }
  return numbers;
}

test(
  'streams that are cut at random bytes, while the process is killed, lose no event that was stored, double none, keep their order',
  async () => {
    const url = new URL(`http://127.0.0.1:${proxy.port}/lasting`);
    const readers: Reader[] = [];
    for (let n = 0; n < SESSIONS; n += 1) readers.push(new Reader(await RawSession.open(url)));
    const listening = await Promise.all(readers.map((reader) => reader.listen()));
    const received = (): number => readers.reduce((sum, { events }) => sum + events, 0);
    let cuts = 0;
    proxy.cutAfter = () => {
      cuts += 1;
      return random.integer(...CUTS);
    };
    // The streams that were opened for the beginning are cut too.
    proxy.cut();

    let calling = true;
    const calls = Promise.all(
      readers.map(async (reader) => {
        while (calling) await reader.call();
      }),
    );
    calls.catch(() => undefined);
    let kills = 0;
    for (let killAt = random.integer(...KILLS); received() < EVENTS; await sleep(5)) {
      expect(node.health).toBe('alive');
      if (received() < killAt) continue;
      killAt += random.integer(...KILLS);
      kills += 1;
      const { port } = node;
      await node.kill();
      node = await startNode({ port, redisUrl: redis.url });
    }
    calling = false;
    await calls;

    // A call goes on without its client, and stores its events all the same.
    const busy = async () => (await fetch(`http://127.0.0.1:${node.port}/busy`)).json();
    await until('no event is on its way into the store', async () => (await busy()) === 0);
    // No more events are sent now, and the standalone streams bring the remaining ones.
    const stored = await Promise.all(readers.map(({ session }) => storedOf(session)));
    const standalone = ({ session }: Reader): string => `${sessionHash(session.id)}-get`;
    const caughtUp = (reader: Reader, n: number): boolean =>
      (reader.received.get(standalone(reader))?.length ?? 0) >= stored[n]!.get(standalone(reader))!.length;
    // The assertions below show which events are still missing.
    await until('all have caught up', () => readers.every(caughtUp)).catch(() => undefined);
    for (const reader of readers) reader.stop();
    await Promise.all(listening.map(({ ended }) => ended));

    const sum = { answered: 0, lost: 0, unheard: 0 };
    for (const { calls: ended } of readers) {
      for (const how of Object.keys(sum) as (keyof typeof sum)[]) sum[how] += ended[how];
    }
    process.stdout.write(
      `cut-streams, CHAOS_SEED=${SEED}: ${received()} events, ${cuts} connections, ${kills} kills, calls ${JSON.stringify(sum)}\n`,
    );
    expect(kills).toBeGreaterThan(0);
    expect(sum.answered).toBeGreaterThan(0);
    for (const [n, reader] of readers.entries()) {
      expect(reader.wrong).toEqual([]);
      // A client that got no event of a stream has no ID to resume it with.
      const heard = [...stored[n]!].filter(([streamId]) => reader.received.has(streamId));
      expect(stored[n]!.size - heard.length).toBeLessThanOrEqual(reader.calls.unheard);
      for (const [streamId, events] of heard) {
        expect(reader.received.get(streamId)).toEqual(events);
        // The stored events are those that were sent, from the first to the last before a kill.
        for (const numbers of numbersOf(events).values()) expect(numbers).toEqual([...numbers.keys()]);
      }
    }

    expect(await node.end()).toEqual([]);
  },
  120_000 + EVENTS * 40,
);
