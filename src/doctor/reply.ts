import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isObject } from '../runtime/checks.js';
import type { RequestId } from '../protocol/messages.js';
import { parseEvents, type StreamEvent } from './events.js';

/** A JSON-RPC message as the endpoint sent it. Nothing is known of its fields. */
export type Message = Readonly<Record<string, unknown>>;

/** In bytes. A reply that goes on is read no further. */
const MAX_BODY = 4 * 1024 * 1024;

/** In characters, of a body that is shown. */
const MAX_SHOWN = 120;

function parseMessages(texts: readonly string[]): Message[] | undefined {
  try {
    return texts.flatMap((text): unknown => JSON.parse(text)).filter(isObject);
  } catch {
    return undefined;
  }
}

/** The answer to a request, among messages. */
export const isAnswerTo =
  (id: RequestId) =>
  (message: Message): boolean =>
    message.id === id && ('result' in message || 'error' in message);

/** A field of a value that may be no object. */
export const fieldOf = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined);

/** The HTTP reply to one request. Its body is read when it is asked for, so a stream may stay unread. */
export class Reply {
  readonly #response: IncomingMessage;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #hasEnded = false;
  #isOver = false;
  #onChange: () => void = () => undefined;

  /** @param call - The method of the request, and the ID of its JSON-RPC request. */
  constructor(
    readonly call: { readonly method: string; readonly id: RequestId | undefined },
    response: IncomingMessage,
  ) {
    this.#response = response;
    response.once('end', () => (this.#hasEnded = true));
    response.once('error', () => undefined);
    response.once('close', () => {
      this.#isOver = true;
      this.#onChange();
    });
  }

  get status(): number {
    return this.#response.statusCode ?? 0;
  }

  get headers(): IncomingHttpHeaders {
    return this.#response.headers;
  }

  /** Without its parameters; '' when there is none. */
  get mediaType(): string {
    return (this.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  }

  /** Whether the endpoint ended the body. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }

  /** The messages so far; undefined when the body is none of JSON-RPC. */
  get messages(): Message[] | undefined {
    if (!isStream(this)) return parseMessages(this.text === '' ? [] : [this.text]);
    return parseMessages(
      eventsOf(this)
        .map(({ data }) => data)
        .filter((data) => data !== ''),
    );
  }

  /** The answer to the request, a result or an error. A refusal of the HTTP request may come without its ID. */
  get answer(): Message | undefined {
    const { id } = this.call;
    return id === undefined ? undefined : this.messages?.find(isAnswerTo(id));
  }

  get result(): Message | undefined {
    const result = this.answer?.result;
    return isObject(result) ? result : undefined;
  }

  /** The JSON-RPC error, whatever its ID. */
  get error(): Message | undefined {
    const error = this.messages?.find((message) => 'error' in message)?.error;
    return isObject(error) ? error : undefined;
  }

  /**
   * Reads until the body ends, or there is enough of it.
   *
   * @returns Whether that came within the time.
   */
  async read(timeoutMs: number, isEnough: () => boolean = () => false): Promise<boolean> {
    if (this.#response.listenerCount('data') === 0) this.#response.on('data', (chunk: Buffer) => this.#take(chunk));
    return new Promise((resolve) => {
      const settle = (isDone: boolean) => {
        clearTimeout(timer);
        this.#onChange = () => undefined;
        resolve(isDone);
      };
      const timer = setTimeout(() => settle(false), timeoutMs);
      this.#onChange = () => {
        if (this.#isOver || isEnough()) settle(true);
      };
      this.#onChange();
    });
  }

  /** Hangs up. */
  close(): void {
    this.#response.destroy();
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size > MAX_BODY) this.close();
    this.#onChange();
  }
}

export const isSuccess = ({ status }: Reply): boolean => status >= 200 && status < 300;

export const isStream = ({ mediaType }: Reply): boolean => mediaType === 'text/event-stream';

/** The complete events so far. */
export const eventsOf = (reply: Reply): StreamEvent[] => (isStream(reply) ? parseEvents(reply.text) : []);

/** The reply in one line. */
export function summaryOf({ call, status, headers: { location }, mediaType, text }: Reply): string {
  const shown = text.replace(/\s+/g, ' ').trim();
  const body = shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}…` : shown;
  return [
    `${call.method} was answered with ${status}`,
    ...(location === undefined ? [] : [`to ${location}`]),
    ...(mediaType === '' ? [] : [mediaType]),
    ...(body === '' ? ['without a body'] : [body]),
  ].join(' ');
}
