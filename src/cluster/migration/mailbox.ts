import type { Clock } from '../../runtime/clock.js';
import { notAReply, Script, type SendCommand } from '../../stores/redis-client.js';

/** How often a node looks whether other nodes ask it for sessions, in ms. */
const INTERVAL = 100;

/** Letters that are taken from an mailbox at a time. */
const MOST = '100';

const PUT = new Script(`
redis.call('RPUSH', KEYS[1], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);

/** What a node asks of the one that owns a session. */
export interface Message {
  readonly sessionId: string;
  /**
   * `handOff` of it as soon as nothing of it is under way; `end` it at once; only `take` what its client says: a call may be
   * waiting for that, so that its session cannot leave.
   */
  readonly action: 'handOff' | 'end' | 'take';
  /** For whom; nothing is done with a session of anybody else. */
  readonly by: { readonly principal: string | undefined } | 'app';
  /** Answers and notifications, one or a batch: nobody waits for an answer to them. */
  readonly body?: unknown;
  /** Whether a node has passed it on that did not own the session any more. */
  readonly passedOn?: boolean;
}

/** How nodes that cannot reach each other do so: a list in Redis for each node, of what it is asked for. */
export class Mailbox {
  readonly #send: SendCommand;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #onFailure: (error: unknown) => void;
  #closed = false;

  constructor(send: SendCommand, prefix: string, clock: Clock, onFailure: (error: unknown) => void) {
    this.#send = send;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** @param time - How long it may lie there, in ms: nobody waits for longer. */
  async put(node: string, message: Message, time: number): Promise<void> {
    await PUT.run(this.#send, this.#key(node), JSON.stringify(message), String(time));
  }

  /** Hands over what comes from now on. */
  async open(node: () => string, onMessage: (message: Message) => Promise<void>): Promise<void> {
    let failing = false;
    while (!this.#closed) {
      try {
        for (const text of await this.#take(node())) this.#read(text, onMessage);
        failing = false;
      } catch (error) {
        if (!failing) this.#onFailure(error);
        failing = true;
      }
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, INTERVAL));
    }
  }

  close(): void {
    this.#closed = true;
  }

  #read(text: string, onMessage: (message: Message) => Promise<void>): void {
    // One that cannot be read must not cost the others.
    const reading = Promise.resolve(text).then((json) => onMessage(JSON.parse(json) as Message));
    reading.catch((error: unknown) => this.#onFailure(error));
  }

  async #take(node: string): Promise<string[]> {
    const messages = await this.#send('LPOP', this.#key(node), MOST);
    if (messages === null) return [];
    if (!Array.isArray(messages)) throw notAReply(messages);
    return messages.map(String);
  }

  #key(node: string): string {
    return `${this.#prefix}mailbox:${node}`;
  }
}
