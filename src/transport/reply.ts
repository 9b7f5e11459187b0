import type { ServerResponse } from 'node:http';
import { Deadline } from '../runtime/deadline-queue.js';
import { errorResponse, ERRORS, RETRY_AFTER_SECONDS } from '../errors.js';
import type { StreamKind } from '../events.js';
import type { TransportContext, TransportSide } from './transport-types.js';
import { breakOff, isCutOff } from './response.js';
import { frame, retryBlock, retryLine, sseHeaders } from './sse.js';

/** What a reply carries. It has a lease of the transport's owner, at least until the reply is over. */
export interface ReplyListener {
  /** The HTTP reply is over. `complete`: the server ended it, and all of it went out. */
  replyClosed(reply: Reply, complete: boolean): void;
  /**
   * What to answer where nothing is known of what was asked any more; undefined where nothing was asked.
   *
   * @param begun - Whether the reply has its head; undefined then also where the client can get the answer itself.
   */
  finalErrors?(asEvents: boolean, begun: boolean): string | undefined;
}

/** Characters from which on text is written at once, and a whole body encoded before it is handed to Node. */
const LONG_TEXT = 16_384;
/** Bytes in a reply from which on they count as waiting for their reader. */
const MUCH = 16_384;

const jsonHeaders = (): Record<string, string | number> => ({ 'Content-Type': 'application/json' });

const ignore = (): void => undefined;
const flush = (reply: Reply): void => reply.flush();

/** UTF-8. `Buffer.from` measures the text first; where all is ASCII, as most long texts are, its length is known. */
function encode(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(text.length);
  const { read, written } = new TextEncoder().encodeInto(text, bytes);
  return read === text.length ? bytes : Buffer.concat([bytes.subarray(0, written), Buffer.from(text.slice(read))]);
}

/**
 * One HTTP reply of the transport: a JSON body, or SSE events until it is ended.
 *
 * What is said in one turn of the event loop is written at the turn's end, when all requests that came with it were worked
 * on: a write wakes the process at the other end, and to be woken costs more than to find the next reply waiting. So a
 * reply that is whole within a turn is one write with a Content-Length. An SSE reply that takes longer gets its head after a
 * second.
 */
export class Reply {
  /** True while events are read from a store, at the reader's speed. A client that stops reading can resume later. */
  catchingUp = false;
  readonly #res: ServerResponse;
  readonly #kind: StreamKind;
  readonly #side: TransportSide;
  readonly #context: TransportContext;
  readonly #listener: ReplyListener;
  readonly #jsonFirst: boolean;
  /** When it is to say something by itself: its head, then comments. */
  readonly #due = new Deadline<{ keepAlive(): void; sendHead(): void }>(this);
  #json = false;
  #status = 200;
  /** What was not written yet. */
  #text = '';
  /** Bytes that wait, but not in Node's response yet. */
  #unsent = 0;
  #flushing = false;
  #headSent = false;
  #streaming = false;
  #retrySent = false;
  #ended = false;
  /** More than `maxStreamBuffer` still waits, a turn of the event loop after it was written. */
  #full = false;
  /** Its reader has not read for a whole keep-alive interval: senders are not held up for it any longer. */
  #stalled = false;
  #watched = false;
  #drain: Promise<void> | undefined;
  #drained: () => void = ignore;

  constructor(res: ServerResponse, kind: StreamKind, side: TransportSide, listener: ReplyListener, jsonFirst = false) {
    this.#res = res;
    this.#kind = kind;
    this.#side = side;
    this.#context = side.context;
    this.#listener = listener;
    this.#jsonFirst = jsonFirst;
    // A reset that arrives between our check and our write is no reason to crash; `close` follows.
    res.on('error', ignore);
    if (res.destroyed) queueMicrotask(this.#onClose);
    else res.once('close', this.#onClose);
    // One that may become JSON has no head until it is whole.
    (jsonFirst ? this.#context.quiet : this.#context.headless).add(this.#due);
  }

  /** Whether something can still be sent. */
  get live(): boolean {
    const res = this.#res;
    // Other middleware may have answered in our place (a time-out, say): then nothing of ours may follow.
    if (this.#ended || res.writableEnded || res.destroyed) return false;
    return (this.#streaming || !res.headersSent) && res.socket?.destroyed !== true;
  }

  /** Whether it has become an SSE stream: something was said on it before its end. */
  get streaming(): boolean {
    return this.#streaming;
  }

  /** Counts an answer that waits for the others of its batch. */
  keep(answer: string): void {
    this.#unsent += answer.length;
    this.#checkLater();
  }

  /** Sends the whole reply as one JSON body. */
  json(text: string, status = 200): void {
    this.#json = true;
    this.#status = status;
    this.#appendLast(text);
  }

  /** Begins an SSE reply at once, with its head at least. */
  begin(eventId?: string): void {
    // An event without data is not dispatched (HTML, 9.2.6), but its ID counts: the priming event of spec 2025-11-25.
    this.#write(eventId === undefined ? '' : `${this.#retryLine()}id: ${eventId}\ndata: \n\n`);
  }

  event(json: string, eventId?: string): void {
    this.#write(this.#retryLine() + frame(json, eventId));
  }

  /** The last event of the reply. */
  lastEvent(json: string, eventId?: string): void {
    this.#appendLast(frame(json, eventId));
  }

  /**
   * Ends the reply; an SSE reply of which nothing was sent ends empty.
   *
   * @param returns - Whether the stream goes on, and its client is to come back for it: it is told when, if it was not yet
   * (spec 2025-11-25, basic/transports, "Sending Messages to the Server", 6). Default: on a standalone stream.
   */
  end(returns = this.#kind === 'standalone'): void {
    this.#appendLast(returns && this.#streaming && !this.#retrySent ? retryBlock(this.#context.retryInterval) : '');
  }

  /** Ends the reply without waiting for its reader. */
  destroy(): void {
    breakOff(this.#res);
  }

  /** Whether the reader is slower than the writer now. */
  get congested(): boolean {
    return this.live && this.#res.writableNeedDrain;
  }

  /** A promise while the reader is slower than the writer; to await it is to be held up no longer than `keepAlive`. */
  drained(): Promise<void> | undefined {
    if (!this.live || this.#stalled || !this.#res.writableNeedDrain) return undefined;
    this.#drain ??= new Promise((resolve) => {
      this.#drained = () => {
        this.#drain = undefined;
        this.#drained = ignore;
        resolve();
      };
      this.#res.once('drain', () => {
        this.#stalled = false;
        this.#drained();
      });
    });
    return this.#drain;
  }

  /** Called when nothing was said for a second: the client may see that it is heard. */
  sendHead(): void {
    if (this.live) this.#write('');
    else this.#context.quiet.add(this.#due);
  }

  /** Called when nothing was written for `keepAlive`. */
  keepAlive(): void {
    const waiting = this.#res.writableLength;
    this.#stalled = waiting > 0;
    this.#drained();
    if (this.live && waiting === 0 && (this.#streaming || !this.#jsonFirst)) this.#write(': keep-alive\n\n');
    else if (this.#ended || (this.catchingUp && waiting > 0) || waiting > this.#context.maxStreamBuffer) this.#watch();
    else this.#context.quiet.add(this.#due);
  }

  /**
   * Gives a reader that owes us more than it may, or the rest of a reply, one more interval to read something. Node's socket
   * time-out sees progress inside a large write, which the length of our own buffer does not show.
   */
  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    const res = this.#res;
    const goOn = (): void => {
      this.#watched = false;
      // Node adds the listener, and leaves it.
      res.setTimeout(0).off('timeout', decide).off('drain', goOn);
      this.#context.quiet.add(this.#due);
    };
    const decide = (): void => {
      if (this.#ended || res.writableLength > 0) res.destroy();
      else goOn();
    };
    res.setTimeout(this.#context.keepAlive, decide).once('drain', goOn);
  }

  /** In the first event only, and never as an event of its own: some clients fail on either (see `retryInterval`). */
  #retryLine(): string {
    const { retryInterval } = this.#context;
    if (this.#retrySent || retryInterval === undefined) return '';
    this.#retrySent = true;
    return retryLine(retryInterval);
  }

  #appendLast(text: string): void {
    if (!this.live) return;
    this.#ended = true;
    this.#append(text);
  }

  #write(text: string): void {
    if (!this.live) return;
    if (this.#full && this.#res.writableLength > this.#context.maxStreamBuffer) {
      breakOff(this.#res);
      return;
    }
    if (!this.#streaming) {
      this.#streaming = true;
      this.#context.events.emit('streamOpened', this.#kind);
    }
    this.#append(text);
    this.#context.quiet.add(this.#due);
  }

  #append(text: string): void {
    this.#text += text;
    // Who awaits each message, and nothing else, never lets a turn end, and feels back-pressure only through the socket. Nor
    // is there anything to be won by waiting with much.
    if (this.#text.length > LONG_TEXT) {
      this.flush();
    } else if (!this.#flushing) {
      this.#flushing = true;
      // One for each reply: it keeps the request's own `AsyncLocalStorage` for whoever hears the response end.
      setImmediate(flush, this);
    }
  }

  /**
   * Writes what waits, now.
   *
   * Middleware may have wrapped the response. What it throws ends this reply and nothing else: thrown on, it would keep a
   * request from being settled, or come out of a timer and end the process.
   */
  flush(): void {
    this.#flushing = false;
    const text = this.#text;
    this.#text = '';
    const res = this.#res;
    if (res.destroyed || res.writableEnded || (res.headersSent && !this.#headSent)) return;
    try {
      if (this.#side.owner?.mayNotRespond === true) this.#refuse();
      else if (this.#ended) this.#end(text);
      else if (text !== '' || !this.#headSent) this.#writeNow(text);
    } catch (error) {
      this.#context.events.emit('failure', 'a reply could not be written', error, this.#side.sessionId);
      breakOff(res);
    }
  }

  /** Of the session nothing may be said any more. Where nothing was, its client can be told at least to come again. */
  #refuse(): void {
    const res = this.#res;
    const words = this.#listener.finalErrors?.(!this.#jsonFirst || this.#headSent, this.#headSent);
    if (
      (res.headersSent && words === undefined) ||
      (words !== undefined && this.#side.owner?.pastGracePeriod === true)
    ) {
      breakOff(res);
      return;
    }
    this.#ended = true;
    if (this.#headSent) {
      res.end(words);
    } else if (words === undefined) {
      res.writeHead(ERRORS.storeUnavailable.status, { ...jsonHeaders(), 'Retry-After': String(RETRY_AFTER_SECONDS) });
      res.end(JSON.stringify(errorResponse('storeUnavailable')));
    } else {
      res.writeHead(200, this.#jsonFirst ? jsonHeaders() : sseHeaders());
      res.end(words);
    }
  }

  #end(text: string): void {
    // Node puts a string into one write with the head; a long one is better encoded once than measured and then encoded.
    const body = text.length > LONG_TEXT ? encode(text) : text;
    if (!this.#headSent) this.#writeHead(Buffer.byteLength(body));
    this.#res.end(body);
    // Middleware that compresses keeps the body, and ends the response when all of it was taken.
    this.#unsent = this.#res.writableEnded ? 0 : body.length;
    this.#checkLater();
  }

  #writeNow(text: string): void {
    if (!this.#headSent) this.#writeHead();
    if (text === '') this.#res.flushHeaders();
    else this.#res.write(text);
    this.#checkLater();
  }

  #writeHead(length?: number): void {
    this.#headSent = true;
    const headers = this.#json ? jsonHeaders() : sseHeaders();
    if (length !== undefined) headers['Content-Length'] = length;
    if (this.#side.sessionId !== undefined) headers['Mcp-Session-Id'] = this.#side.sessionId;
    if (this.#status === 503) headers['Retry-After'] = RETRY_AFTER_SECONDS;
    this.#res.writeHead(this.#status, headers);
  }

  /**
   * Looks again one turn of the event loop later. Until then the kernel has taken what a healthy reader's socket can hold, so a
   * burst, or one message larger than the buffer, is not held against it. The next write is, if this much waits still.
   */
  #checkLater(): void {
    const waiting = this.#res.writableLength + this.#unsent;
    if (waiting > Math.min(MUCH, this.#context.maxStreamBuffer)) setImmediate(this.#checkBuffer);
  }

  readonly #checkBuffer = (): void => {
    this.#full = this.#res.writableLength > this.#context.maxStreamBuffer;
    this.#context.replyMemory.hold(this.#res, this.#unsent);
  };

  readonly #onClose = (): void => {
    const complete = this.#ended && !isCutOff(this.#res);
    this.#ended = true;
    this.#due.cancel();
    this.#drained();
    if (this.#streaming) this.#context.events.emit('streamClosed', this.#kind);
    this.#listener.replyClosed(this, complete);
  };
}
