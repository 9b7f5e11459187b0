import { StringDecoder } from 'node:string_decoder';
import { isObject } from '../runtime/checks.js';
import { EventParser, type StreamEvent } from '../protocol/event-parser.js';

/** A JSON-RPC message as the endpoint sent it. Nothing is known of its fields. */
export type Message = Readonly<Record<string, unknown>>;

/** In bytes, of one body. */
const MAX_SIZE = 4 * 1024 * 1024;
/** The number of events in one body, or of messages. The shortest ones take ten times the memory of their text. */
const MAX_COUNT = 10_000;

interface Content {
  readonly messages: Message[];
  /** Whether a part of it is no JSON. */
  hasOther: boolean;
}

/** Adds the messages of a JSON text: one, or those of a batch. */
function addMessages(text: string, content: Content): void {
  try {
    const parsed: unknown = JSON.parse(text);
    const values: unknown[] = Array.isArray(parsed) ? parsed : [parsed];
    content.messages.push(...values.slice(0, MAX_COUNT).filter(isObject));
  } catch {
    content.hasOther = true;
  }
}

/** The body of a reply as far as it has arrived. */
export class Body {
  readonly #parser: EventParser | undefined;
  readonly #decoder = new StringDecoder('utf8');
  readonly #events: StreamEvent[] = [];
  readonly #streamed: Content = { messages: [], hasOther: false };
  #text = '';
  #size = 0;

  constructor(isStream: boolean) {
    this.#parser = isStream ? new EventParser() : undefined;
  }

  get text(): string {
    return this.#text;
  }

  /** In bytes. */
  get size(): number {
    return this.#size;
  }

  /** Whether it is so large that it is read no further. */
  get isFull(): boolean {
    return Math.max(this.#events.length, this.#streamed.messages.length) >= MAX_COUNT || this.#size > MAX_SIZE;
  }

  /** The complete events of a stream. */
  get events(): readonly StreamEvent[] {
    return this.#events;
  }

  /** The JSON objects in it. Named events have none: a client of MCP does not listen to them. */
  get messages(): readonly Message[] {
    return this.#content.messages;
  }

  /** Whether some part that should be a message is no JSON. */
  get hasOther(): boolean {
    return this.#content.hasOther;
  }

  add(chunk: Buffer): void {
    const text = this.#decoder.write(chunk);
    this.#size += chunk.length;
    this.#text += text;
    const events = this.#parser?.push(text) ?? [];
    this.#events.push(...events.slice(0, MAX_COUNT));
    for (const { type, data } of events) if (type === 'message' && data !== '') addMessages(data, this.#streamed);
  }

  get #content(): Content {
    if (this.#parser !== undefined) return this.#streamed;
    const content: Content = { messages: [], hasOther: false };
    if (this.#text !== '') addMessages(this.#text, content);
    return content;
  }
}
