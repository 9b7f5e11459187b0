import { setImmediate as endOfTurn } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema, LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { until } from '../support/waiting.js';

/** The result of a tool of `node.ts`: the session and its epoch, the process, and the rest. */
export interface Told {
  readonly session: string;
  readonly pid: number;
  readonly epoch: number;
  readonly count?: number;
  readonly text?: string;
  readonly question?: string;
  readonly reply?: string;
}

export const LONGEST_CALL = 45_000;

/** A client of the SDK that is one object for as long as a test runs, and notes what no client should see. */
export class ClusterClient {
  readonly sdk: Client;
  readonly transport: StreamableHTTPClientTransport;
  /** The notifications on its GET stream, in order. */
  readonly heard: string[] = [];
  /** What its transport complained of: streams that broke, streams that could not be opened. */
  readonly complaints: string[] = [];
  /** Answers that are not those of its own questions, or not in the order of its own history. */
  readonly wrong: string[] = [];
  /** How often its counter was asked to grow, and what was acknowledged last. */
  sent = 0;
  counted = 0;
  notified = 0;
  #asked = 0;
  /** Often enough for a node to be found dead, and its sessions to be claimed. */
  readonly #reconnects = {
    maxRetries: 200,
    initialReconnectionDelay: 100,
    maxReconnectionDelay: 100,
    reconnectionDelayGrowFactor: 1,
  };

  static async connect(url: URL): Promise<ClusterClient> {
    const client = new ClusterClient(url);
    await client.sdk.connect(client.transport);
    return client;
  }

  private constructor(url: URL) {
    this.sdk = new Client({ name: 'cluster', version: '1' }, { capabilities: { elicitation: {} } });
    this.transport = new StreamableHTTPClientTransport(url, { reconnectionOptions: this.#reconnects });
    this.sdk.onerror = ({ message }) => void this.complaints.push(message);
    this.sdk.setNotificationHandler(
      LoggingMessageNotificationSchema,
      ({ params }) => void this.heard.push(String(params.data)),
    );
    this.sdk.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
      action: 'accept',
      content: { reply: `${this.id} to ${params.message}` },
    }));
  }

  get id(): string {
    return this.transport.sessionId!;
  }

  /** What a tool said; rejects when it said that it failed. */
  async call(name: string, args: Record<string, unknown> = {}, onprogress?: (step: number) => void): Promise<Told> {
    const options = {
      timeout: LONGEST_CALL,
      ...(onprogress && { onprogress: ({ progress }: { progress: number }) => onprogress(progress) }),
    };
    const result = await this.sdk.callTool({ name, arguments: args }, undefined, options).catch((cause: unknown) => {
      // Of a `fetch` that failed, only its own cause says why.
      const { cause: why } = cause as { cause?: Error };
      throw new Error(`${name}: ${String(cause)} ${why?.message ?? ''}`, { cause });
    });
    const { content, isError } = result as unknown as { content: [{ text: string }]; isError?: boolean };
    if (isError === true) throw new Error(`${name}: ${content[0].text}`);
    const told = JSON.parse(content[0].text) as Told;
    if (told.session !== this.id) this.wrong.push(`${this.id} got an answer of ${told.session}`);
    return told;
  }

  /** One at a time. There is one history, and none of it twice: no add is lost that was acknowledged, or done that was not sent. */
  async add(): Promise<Told> {
    this.sent += 1;
    const told = await this.call('add');
    const count = told.count!;
    if (count <= this.counted || count > this.sent) {
      this.wrong.push(`${this.id} counts ${count}: ${this.counted} was acknowledged, ${this.sent} sent`);
    }
    this.counted = count;
    return told;
  }

  async echo(): Promise<void> {
    const text = `${this.id} ${(this.#asked += 1)}`;
    const told = await this.call('echo', { text });
    if (told.text !== text) this.wrong.push(`${text} came back as ${told.text}`);
  }

  async ask(): Promise<void> {
    const question = `question ${(this.#asked += 1)}`;
    const { reply } = await this.call('ask', { question });
    if (reply !== `${this.id} to ${question}`) this.wrong.push(`${this.id} to ${question} became ${reply}`);
  }

  /** Progress may be lost where its stream breaks, but never change its order. */
  async slow(ms: number, every: number): Promise<number[]> {
    const steps: number[] = [];
    await this.call('slow', { ms, every }, (step) => void steps.push(step));
    if (steps.some((step, at) => at > 0 && step <= steps[at - 1]!)) this.wrong.push(`progress: ${steps.join()}`);
    return steps;
  }

  async notify(): Promise<void> {
    await this.call('notify', { data: String(this.notified + 1) });
    this.notified += 1;
  }

  /** Until its GET stream is there: nothing else tells when the SDK has opened it. */
  async listens(): Promise<void> {
    await until('a notification is heard', async () => {
      if (this.heard.length === 0) await this.call('notify', { data: 'hello' });
      return this.heard.length > 0;
    });
    // What has been said till then comes before the answer of a later call does, or it was said before the stream was there.
    await this.call('notify', { data: 'begin' });
    await until('the last of them is heard', () => this.heard.at(-1) === 'begin');
    this.heard.length = 0;
  }

  /** All that was acknowledged is heard, each once and in its order. */
  async heardAll(): Promise<void> {
    const all = (): boolean => this.heard.length >= this.notified;
    await until('all that was acknowledged is heard', all).catch(() => undefined);
    const due = Array.from({ length: this.notified }, (_, at) => String(at + 1));
    if (this.heard.join() === due.join()) return;
    const [heard, complaints] = [this.heard.join(), this.complaints.slice(-5).join('; ')];
    this.wrong.push(`${this.id} heard ${heard} of ${this.notified}, after: ${complaints}`);
  }

  /** Ends its session. Where a node has just ended its stream, the transport's next GET may come after the DELETE: a true 404. */
  async end(): Promise<void> {
    delete this.sdk.onerror;
    await this.transport.terminateSession();
    await this.close();
  }

  close(): Promise<void> {
    // Closing does not keep the transport from trying again, nor from complaining of what it breaks off itself.
    this.#reconnects.maxRetries = 0;
    delete this.sdk.onerror;
    return this.sdk.close();
  }
}

/** Each fault once, with its count. */
export function tally(messages: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const message of messages) counts.set(message, (counts.get(message) ?? 0) + 1);
  return Object.fromEntries(counts);
}

/** What clients do all the time, each one thing after the other, until `stop`. */
export class Load {
  #stopped = false;
  #running: Promise<unknown>;
  readonly #acts: readonly (() => Promise<unknown>)[];

  constructor(acts: readonly (() => Promise<unknown>)[]) {
    this.#acts = acts;
    this.#running = this.#run();
  }

  /** Resolves when nothing is in flight; rejects as the first of them did. */
  async stop(): Promise<void> {
    this.halt();
    await this.#running;
  }

  /** Ignores the outcome of requests that are still in flight. */
  halt(): void {
    this.#stopped = true;
  }

  /** Has all of them go on, once it has stopped. */
  resume(): void {
    this.#stopped = false;
    this.#running = this.#run();
  }

  #run(): Promise<unknown> {
    const running = Promise.all(this.#acts.map((act) => this.#repeat(act)));
    running.catch(() => undefined);
    return running;
  }

  async #repeat(act: () => Promise<unknown>): Promise<void> {
    while (!this.#stopped) {
      await act();
      // One that fails at once would otherwise leave nothing else a turn.
      await endOfTurn();
    }
  }
}
