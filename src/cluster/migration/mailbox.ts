import type { Clock } from '../../runtime/clock.js';
import { notAReply, Script, type SendCommand } from '../../stores/redis-client.js';

/** How often a node reads its mailbox, in ms. */
const INTERVAL = 100;

/** Messages that a node takes from its mailbox at a time. */
const BATCH = '100';

/** The capacity of a mailbox. A working node reads as many messages within a second, so only a blocked node fills its mailbox. */
const MAX_MESSAGES = '1000';

/**
 * Bytes of memory above which a mailbox accepts no message: two messages of the largest default size. The mailboxes must not
 * fill Redis, as a full Redis fences every node. The last accepted message may exceed the limit, so that no message is too large.
 */
const MAX_BYTES = String(8 * 1024 * 1024);

/** Returns 0 when the mailbox is full. Its expiry then stays unchanged. */
const PUT = new Script(`
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
local used = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', '0')
if type(used) == 'number' and used > tonumber(ARGV[4]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);

/** A message to the owner of a session. */
export interface Message {
  readonly sessionId: string;
  /**
   * - `handOff`: release the session as soon as none of its requests is in flight.
   * - `end`: end it at once.
   * - `take`: accept a response or notification of the client without moving the session, as a call in flight may wait for it.
   */
  readonly action: 'handOff' | 'end' | 'take';
  /** The sender: a principal, or the app. The message has no effect on a session of another principal. */
  readonly by: { readonly principal: string | undefined } | 'app';
  /** The responses and notifications of `take`. */
  readonly body?: unknown;
  /** Whether an earlier owner has passed the message on. A message is passed on only once. */
  readonly passedOn?: boolean;
}

/** Messages between nodes that cannot reach each other: a list in Redis for each node. */
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

  /**
   * Puts a message into the mailbox of a node. Resolves to false when the mailbox is full.
   *
   * @param time - How long the message lives, in ms. Its sender does not wait longer.
   */
  async put(node: string, message: Message, time: number): Promise<boolean> {
    const args = [JSON.stringify(message), String(time), MAX_MESSAGES, MAX_BYTES];
    return Number(await PUT.run(this.#send, this.#key(node), ...args)) === 1;
  }

  /** Gives each message that arrives from now on to `onMessage`. */
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
    // A message that cannot be read must not stop the others.
    const reading = Promise.resolve(text).then((json) => onMessage(JSON.parse(json) as Message));
    reading.catch((error: unknown) => this.#onFailure(error));
  }

  async #take(node: string): Promise<string[]> {
    const messages = await this.#send('LPOP', this.#key(node), BATCH);
    if (messages === null) return [];
    if (!Array.isArray(messages)) throw notAReply(messages);
    return messages.map(String);
  }

  #key(node: string): string {
    return `${this.#prefix}mailbox:${node}`;
  }
}
