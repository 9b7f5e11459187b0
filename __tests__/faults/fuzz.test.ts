import fc from 'fast-check';
import { parseExposition } from '../support/exposition.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { fuzzRequest, type FuzzRequest } from './fuzz-requests.js';
import { verdictOn } from './fuzz-verdict.js';
import { REQUEST_TIMEOUT, TTL, World } from './fuzz-world.js';

const COUNT = Number(process.env.FUZZ_COUNT ?? 4_000);
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const BATCH = 2_000;
const PIPELINES = 8;
/** Sockets that serve one request each, at a time. */
const ALONE = 64;
/** GET streams held open while the rest goes on. */
const MAX_STREAMS = 20;
/** Ms of real time that any request may take; on the fake clock that is more than every time-out there is. */
const TIME_LIMIT = 30_000;

/** What must be back at 0 when all is over. */
const GAUGES = ['mcp_sessions_active', 'mcp_sessions_orphaned', 'mcp_streams_open'];

interface Sent {
  readonly request: FuzzRequest;
  readonly bytes: Buffer;
}

class Fuzzer {
  readonly #world: World;
  readonly #sockets = new Set<RawSocket>();
  readonly #streams: RawSocket[] = [];
  readonly verdicts = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Sends all, and checks that each got an answer that the documentation knows. */
  async run(requests: readonly FuzzRequest[]): Promise<void> {
    await this.#world.refresh();
    const all = requests.map((request) => this.#prepare(request));
    const alone = all.filter(({ request }) => this.#needsOwnSocket(request));
    const pipelined = all.filter(({ request }) => !this.#needsOwnSocket(request));
    const lanes = [
      ...split(pipelined, PIPELINES).map((lane) => this.#pipeline(lane)),
      ...split(alone, ALONE).map((lane) => this.#eachAlone(lane)),
    ];
    await Promise.all(lanes);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #open(port: number): Promise<RawSocket> {
    const socket = await RawSocket.open(port);
    this.#sockets.add(socket);
    return socket;
  }

  #destroy(socket: RawSocket | undefined): void {
    if (socket === undefined) return;
    this.#sockets.delete(socket);
    socket.destroy();
  }

  #prepare(request: FuzzRequest): Sent {
    const headers = [...request.headers, ...this.#world.headersFor(request)];
    const bytes = requestBytes(request.method, request.target, headers, request.body);
    if (request.damage === undefined) return { request, bytes };
    const { at, remove, insert } = request.damage;
    const start = at % bytes.length;
    return { request, bytes: Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)]) };
  }

  /** A stream that stays open would hold up the answers behind it. */
  #needsOwnSocket({ lastOnSocket, method, session, listens }: FuzzRequest): boolean {
    return lastOnSocket || listens || (method === 'GET' && session?.kind === 'live');
  }

  async #pipeline(lane: readonly Sent[]): Promise<void> {
    if (lane.length === 0) return;
    const socket = await this.#open(this.#world.port);
    void socket.write(Buffer.concat(lane.map(({ bytes }) => bytes)));
    for (const sent of lane) {
      const response = await inTime(sent, socket.response(sent.request.method));
      this.#count(sent, () => verdictOn(sent.request, response));
      this.#world.saw(response);
    }
    this.#destroy(socket);
  }

  async #eachAlone(lane: readonly Sent[]): Promise<void> {
    for (const sent of lane) await inTime(sent, this.#alone(sent));
  }

  async #alone(sent: Sent): Promise<void> {
    const { request, bytes } = sent;
    const socket = await this.#open(request.damage === undefined ? this.#world.port : this.#world.impatientPort);
    await socket.write(bytes);
    const { status, headers } = await socket.head();
    const mayStay = request.method === 'GET' || (request.listens && !headers.has('content-length'));
    if (mayStay && status === 200 && headers.get('content-type') === 'text/event-stream') {
      this.#count(sent, () => `200 ${request.method} stream`);
      this.#streams.push(socket);
      if (this.#streams.length > MAX_STREAMS) this.#destroy(this.#streams.shift());
      return;
    }
    const response = await socket.response(request.method);
    this.#count(sent, () => verdictOn(request, response));
    this.#destroy(socket);
  }

  #count(sent: Sent, verdict: () => string): void {
    try {
      const name = verdict();
      this.verdicts.set(name, (this.verdicts.get(name) ?? 0) + 1);
    } catch (cause) {
      throw failure(sent, 'was answered wrongly', cause);
    }
  }
}

function split<T>(items: readonly T[], count: number): T[][] {
  return Array.from({ length: count }, (_, n) => items.filter((_item, index) => index % count === n));
}

async function inTime<T>(sent: Sent, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${TIME_LIMIT} ms`)), TIME_LIMIT);
  });
  try {
    return await Promise.race([answer, late]);
  } catch (cause) {
    throw failure(sent, 'was not answered', cause);
  } finally {
    clearTimeout(timer);
  }
}

function failure({ bytes }: Sent, what: string, cause: unknown): Error {
  const shown = JSON.stringify(bytes.toString('latin1').slice(0, 2_000));
  return new Error(`FUZZ_SEED=${SEED}: a request ${what}: ${String(cause)}\n${shown}`, { cause });
}

describe('bad input', () => {
  const world = new World();
  const fuzzer = new Fuzzer(world);
  let hands: NodeJS.Timeout;
  beforeAll(async () => {
    await world.start();
    // Time passes for the router much faster than for Node, so that every time-out of its own has its turn.
    hands = setInterval(() => world.clock.advance(1_000), 5);
  });
  afterAll(async () => {
    clearInterval(hands);
    fuzzer.close();
    await world.close();
  });

  test(`${COUNT} fuzzed requests: each is answered in time, as docs/http.md says`, async () => {
    for (let sent = 0; sent < COUNT; sent += BATCH) {
      await fuzzer.run(fc.sample(fuzzRequest, { seed: SEED + sent, numRuns: Math.min(BATCH, COUNT - sent) }));
    }
    const counted = [...fuzzer.verdicts].sort(([, a], [, b]) => b - a);
    // Else the generators have come to say the same again and again.
    expect(counted.length).toBeGreaterThan(25);
    process.stdout.write(`fuzz, seed ${SEED}:\n${counted.map(([name, count]) => `${count}\t${name}`).join('\n')}\n`);
  }, 600_000);

  test('after them a real client is served as usual, and nothing is left', async () => {
    fuzzer.close();
    await world.disconnected();
    clearInterval(hands);
    world.clock.advance(REQUEST_TIMEOUT);
    // The clock stands now, and so would the time-out of a store that does not answer.
    world.eventStore.moody = false;
    const client = await world.harness.client();
    const result = await client.callTool({ name: 'echo', arguments: { text: 'still here' } });
    expect(result.content).toEqual([{ type: 'text', text: 'still here' }]);
    await client.close();

    // fetch may have opened a socket that it did not come to use.
    world.harness.http.closeAllConnections();
    await world.disconnected();
    for (let time = 0; time < 2 * TTL; time += TTL / 10) {
      world.clock.advance(TTL / 10);
      await new Promise(setImmediate);
    }
    for (const router of world.routers.values()) {
      expect(router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    }
    expect(world.clock.pending).toBe(0);
    for (const path of world.routers.keys()) {
      const text = await (await fetch(new URL(`${path}/metrics`, world.harness.url))).text();
      const gauges = parseExposition(text).filter(({ name }) => GAUGES.includes(name));
      expect(gauges.length).toBeGreaterThanOrEqual(GAUGES.length);
      expect(gauges.filter(({ value }) => value !== 0)).toEqual([]);
    }
  });
});
