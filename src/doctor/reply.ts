import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isObject } from '../runtime/checks.js';
import type { RequestId } from '../protocol/messages.js';
import { Body, type Message } from './body.js';

/** In characters, of a body that is judged by its text. A pattern takes more than linear time. */
const MAX_JUDGED = 10_000;

/** The answer to a request, among messages. */
export const isAnswerTo =
  (id: RequestId) =>
  (message: Message): boolean =>
    message.id === id && ('result' in message || 'error' in message);

/** A field of a value that may be no object. */
export const fieldOf = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined);

/** The HTTP reply to one request. Its body is read when it is asked for, so a stream may stay unread. */
export class Reply {
  readonly body: Body;
  readonly #response: IncomingMessage;
  #hasEnded = false;
  #isOver = false;
  #onChange: () => void = () => undefined;

  /** @param call - The method of the request, and the ID of its JSON-RPC request. */
  constructor(
    readonly call: { readonly method: string; readonly id: RequestId | undefined },
    response: IncomingMessage,
  ) {
    this.#response = response;
    this.body = new Body(isStream(this));
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

  /** The answer to the request, a result or an error. A refusal of the HTTP request may come without its ID. */
  get answer(): Message | undefined {
    const { id } = this.call;
    return id === undefined ? undefined : this.body.messages.find(isAnswerTo(id));
  }

  get result(): Message | undefined {
    const result = this.answer?.result;
    return isObject(result) ? result : undefined;
  }

  /** The JSON-RPC error, whatever its ID. */
  get error(): Message | undefined {
    const error = this.body.messages.find((message) => 'error' in message)?.error;
    return isObject(error) ? error : undefined;
  }

  /**
   * Reads until the body ends, or there is enough of an event stream.
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
        if (this.#isOver || (isStream(this) && isEnough())) settle(true);
      };
      this.#onChange();
    });
  }

  /** Hangs up. */
  close(): void {
    this.#response.destroy();
  }

  #take(chunk: Buffer): void {
    this.body.add(chunk);
    if (this.body.isFull) this.close();
    this.#onChange();
  }
}

export const isSuccess = ({ status }: Reply): boolean => status >= 200 && status < 300;

export const isStream = ({ mediaType }: Reply): boolean => mediaType === 'text/event-stream';

/** The text of the body, without what is too far down to be judged. */
export const beginningOf = ({ body }: Reply): string => body.text.slice(0, MAX_JUDGED);

/** The reply in one line. */
export function summaryOf(reply: Reply): string {
  const { call, status, headers, mediaType } = reply;
  const { location } = headers;
  const body = beginningOf(reply).replace(/\s+/g, ' ').trim();
  return [
    `${call.method} was answered with ${status}`,
    ...(location === undefined ? [] : [`to ${location}`]),
    ...(mediaType === '' ? [] : [mediaType]),
    ...(body === '' ? ['without a body'] : [body]),
  ].join(' ');
}
