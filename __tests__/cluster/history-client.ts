import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../chaos/random.js';
import type { WireMessage } from '../support/event-stream.js';
import { post } from '../support/harness.js';
import { answerOf } from '../support/raw-session.js';
import { toldBy, type AnyNodeSession } from './any-node.js';
import type { Answer, Operation } from './history-checker.js';

/** In ms. A client waits for an answer for a time between these, and then goes on without it. */
const PATIENCE = [1_000, 8_000] as const;
/** In ms, between two operations. */
const PAUSE = [0, 120] as const;

/** How an operation ended, for the counts that a run prints. */
export type Outcome = 'answered' | 'refused' | 'failed' | 'broken' | 'wrong';

/** One of several clients that share a session. It has one operation in flight at a time, and records each. */
export class HistoryClient {
  readonly operations: Operation[] = [];
  readonly outcomes: Record<Outcome, number> = { answered: 0, refused: 0, failed: 0, broken: 0, wrong: 0 };
  /** Replies that no client should get in any history. */
  readonly wrong: string[] = [];
  readonly #name: string;
  readonly #session: AnyNodeSession;
  readonly #random: Random;

  constructor(name: string, session: AnyNodeSession, random: Random) {
    this.#name = name;
    this.#session = session;
    this.#random = random;
  }

  /** Sends one operation, drawn at random, to one of the nodes. */
  async act(urls: readonly URL[]): Promise<void> {
    const kinds = ['append', 'append', 'append', 'effect', 'effect', 'effect', 'list'] as const;
    const kind = kinds[this.#random.integer(0, kinds.length)]!;
    const url = urls[this.#random.integer(0, urls.length)]!;
    await this.send(kind, url, this.#random.integer(...PATIENCE));
    await sleep(this.#random.integer(...PAUSE));
  }

  async send(kind: Operation['kind'], url: URL, patience: number): Promise<Outcome> {
    const value = `${this.#name}-${this.operations.length}`;
    const invoked = { client: this.#name, kind, value, invokedAt: performance.now() };
    const { outcome, ...ended } = await this.#outcomeOf(url, this.#session.body(kind, { value }), patience);
    this.outcomes[outcome] += 1;
    this.operations.push({ ...invoked, ...ended });
    return outcome;
  }

  async #outcomeOf(url: URL, body: object, patience: number): Promise<Ended> {
    let response: Response;
    let message: WireMessage | undefined;
    try {
      response = await post(url, body, this.#session.headers, AbortSignal.timeout(patience));
      if (response.status === 503) {
        await response.text();
        return { outcome: 'refused', isRefused: true };
      }
      if (response.status !== 200) return this.#isWrong(`${response.status} ${await response.text()}`);
      message = await answerOf(response);
    } catch {
      return { outcome: 'broken' };
    }
    const at = performance.now();
    // The reply broke off before its answer.
    if (message === undefined) return { outcome: 'broken' };
    if (message.id !== (body as { id: number }).id) return this.#isWrong(`another request: ${JSON.stringify(message)}`);
    try {
      return { outcome: 'answered', answer: { ...(toldBy(message) as object as Omit<Answer, 'at'>), at } };
    } catch {
      // The tool failed, or its outcome is unknown.
      return { outcome: 'failed' };
    }
  }

  #isWrong(answer: string): Ended {
    this.wrong.push(`${this.#name} of ${this.#session.id} got an answer of ${answer}`);
    return { outcome: 'wrong' };
  }
}

interface Ended extends Pick<Operation, 'answer' | 'isRefused'> {
  readonly outcome: Outcome;
}
