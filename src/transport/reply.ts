import type { ServerResponse } from 'node:http';
import { Deadline } from '../runtime/deadline-queue.js';
import { errorResponse, ERRORS, RETRY_AFTER_SECONDS } from '../errors.js';
import type { StreamEnd, StreamKind } from '../events.js';
import type { TransportContext, TransportSide } from './transport-types.js';
import { breakOff, isCutOff } from './response.js';
import { noteError } from './response-facts.js';
import { frame, retryBlock, retryLine, sseHeaders } from './sse.js';

/** The stream behind a reply. It has a lease of the transport's owner, at least until the reply is over. */
export interface ReplyListener {
  /** The HTTP reply is over. `complete`: the server ended it, and all of it went out. */
  replyClosed(reply: Reply, complete: boolean): void;
  /**
   * The errors for the requests of the reply, when this node may no longer answer them. Undefined when the reply has none.
   *
   * @param begun - Whether the head of the reply was sent. The result is then undefined, too, when the client can resume.
   */
  finalErrors?(asEvents: boolean, begun: boolean): string | undefined;
}

/** Text longer than this many characters is written at once. A whole body longer than this is encoded before Node gets it. */
const LONG_TEXT = 16_384;
/** Above this many bytes, the bytes in a reply count as waiting for their reader. */
const COUNTED_FROM = 16_384;

const jsonHeaders = (): Record<string, string | number> => ({ 'Content-Type': 'application/json' });

const ignore = (): void => undefined;
const flush = (reply: Reply): void => reply.flush();

/** Encodes as UTF-8 with one pass over ASCII, as most long texts are ASCII. `Buffer.from` makes one more, to measure the text. */
function encode(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(text.length);
  const { read, written } = new TextEncoder().encodeInto(text, bytes);
  return read === text.length ? bytes : Buffer.concat([bytes.subarray(0, written), Buffer.from(text.slice(read))]);
}

/**
 * One HTTP reply of the transport: a JSON body, or SSE events until it is ended.
 *
 * The text of one turn of the event loop is written at the end of the turn, after all requests of that turn were handled. The
 * reason: each write wakes the process of the client, and waking costs more than reading several replies at once. A reply that
 * is complete within a turn is one write with a Content-Length. An SSE reply that takes longer gets its head after a second.
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
  /** The time for the head, and later for the next keep-alive comment. */
  readonly #due = new Deadline<{ keepAlive(): void; sendHead(): void }>(this);
  #json = false;
  #status = 200;
  /** The text that was not written yet. */
  #text = '';
  /** Bytes that wait outside of Node's response. */
  #unsent = 0;
  #flushing = false;
  #headSent = false;
  #streaming = false;
  #retrySent = false;
  #ended = false;
  /** Why the router broke it off. */
  #brokenOff: StreamEnd | undefined;
  /** More than `maxStreamBuffer` still waited one turn of the event loop after the last write. */
  #full = false;
  /** The reader has taken nothing for a whole keep-alive interval. Senders no longer wait for it. */
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
    // A reset between `live` and the write emits `error`, which would crash the process without a listener. `close` follows.
    res.on('error', ignore);
    if (res.destroyed) queueMicrotask(this.#onClose);
    else res.once('close', this.#onClose);
    // A reply that may become JSON gets its head with its body.
    (jsonFirst ? this.#context.quiet : this.#context.headless).add(this.#due);
  }

  /** Whether something can still be sent. */
  get live(): boolean {
    const res = this.#res;
    // Other middleware may have answered already (a time-out, say). Then the transport may not write.
    if (this.#ended || res.writableEnded || res.destroyed) return false;
    return (this.#streaming || !res.headersSent) && res.socket?.destroyed !== true;
  }

  /** Whether it has become an SSE stream: an event was sent before its end. */
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
   * Ends the reply. An SSE reply without events ends empty.
   *
   * @param returns - Whether the stream remains open, so that the client reconnects. The reply then has a `retry` field
   * (spec 2025-11-25, basic/transports, "Sending Messages to the Server", 6). Default: whether it is a standalone stream.
   */
  end(returns = this.#kind === 'standalone'): void {
    this.#appendLast(returns && this.#streaming && !this.#retrySent ? retryBlock(this.#context.retryInterval) : '');
  }

  /** Ends the reply without waiting for its reader. */
  destroy(reason: StreamEnd): void {
    this.#brokenOff ??= reason;
    breakOff(this.#res);
  }

  /** Whether the reader is slower than the writer now. */
  get congested(): boolean {
    return this.live && this.#res.writableNeedDrain;
  }

  /** A promise while the reader is slower than the writer, else undefined. It resolves after `keepAlive` at the latest. */
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

  /** Called when nothing was sent for a second. The head shows the client that the request has arrived. */
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
   * Gives a reader one more interval to read something, when too much waits for it or the reply has ended. Node's socket
   * time-out notices progress inside a large write, which `writableLength` does not show.
   */
  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    const res = this.#res;
    const goOn = (): void => {
      this.#watched = false;
      // `setTimeout` of Node adds the listener, but never removes it.
      res.setTimeout(0).off('timeout', decide).off('drain', goOn);
      this.#context.quiet.add(this.#due);
    };
    const decide = (): void => {
      if (!this.#ended && res.writableLength === 0) return goOn();
      this.#brokenOff ??= 'slow_reader';
      res.destroy();
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
    if (this.#full && this.#res.writableLength > this.#context.maxStreamBuffer) return this.destroy('slow_reader');
    if (!this.#streaming) {
      this.#streaming = true;
      if (this.#kind !== 'subscription') this.#side.owner?.streamOpened(this.#kind);
      this.#context.events.emit('streamOpened', this.#kind, this.#side);
    }
    this.#append(text);
    this.#context.quiet.add(this.#due);
  }

  #append(text: string): void {
    this.#text += text;
    // A handler that only awaits its sends never ends the turn of the event loop. So long text is written now: otherwise it
    // would grow without bound, and the handler would get no back-pressure.
    if (this.#text.length > LONG_TEXT) {
      this.flush();
    } else if (!this.#flushing) {
      this.#flushing = true;
      // One timer for each reply: listeners of the response's end then run in the request's own `AsyncLocalStorage` context.
      setImmediate(flush, this);
    }
  }

  /**
   * Writes the collected text now.
   *
   * Middleware may have wrapped the response. An error that it throws ends only this reply. Otherwise the error would keep a
   * request from being settled, or end the process as an uncaught error of a timer.
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
      this.destroy('failed');
    }
  }

  /** Ends the reply of a session that another node may own: with final errors, or with 503 if nothing was sent. */
  #refuse(): void {
    const res = this.#res;
    const errors = this.#listener.finalErrors?.(!this.#jsonFirst || this.#headSent, this.#headSent);
    if (
      (res.headersSent && errors === undefined) ||
      (errors !== undefined && this.#side.owner?.pastGracePeriod === true)
    ) {
      return this.destroy('failed');
    }
    this.#ended = true;
    noteError(res, errors === undefined ? 'storeUnavailable' : 'outcomeUnknown');
    if (this.#headSent) {
      res.end(errors);
    } else if (errors === undefined) {
      res.writeHead(ERRORS.storeUnavailable.status, { ...jsonHeaders(), 'Retry-After': String(RETRY_AFTER_SECONDS) });
      res.end(JSON.stringify(errorResponse('storeUnavailable')));
    } else {
      res.writeHead(200, this.#jsonFirst ? jsonHeaders() : sseHeaders());
      res.end(errors);
    }
  }

  #end(text: string): void {
    // Node puts a string into one write with the head. A long text is encoded here, which measures it at the same time.
    const body = text.length > LONG_TEXT ? encode(text) : text;
    if (!this.#headSent) this.#writeHead(Buffer.byteLength(body));
    this.#res.end(body);
    // Compressing middleware buffers the body. It ends the response after the client has read it.
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
   * Checks the buffer one turn of the event loop later. By that time the kernel has taken all that fits into the socket of a
   * healthy reader. So a burst, or one message larger than the buffer, does not break the reply off. The next write does, if
   * too much still waits.
   */
  #checkLater(): void {
    const waiting = this.#res.writableLength + this.#unsent;
    if (waiting > Math.min(COUNTED_FROM, this.#context.maxStreamBuffer)) setImmediate(this.#checkBuffer);
  }

  readonly #checkBuffer = (): void => {
    this.#full = this.#res.writableLength > this.#context.maxStreamBuffer;
    this.#context.replyMemory.hold(this.#res, this, this.#unsent);
  };

  #streamClosed(reason: StreamEnd): void {
    if (this.#kind !== 'subscription') this.#side.owner?.streamClosed(this.#kind);
    this.#context.events.emit('streamClosed', this.#kind, reason, this.#side);
  }

  readonly #onClose = (): void => {
    const complete = this.#ended && !isCutOff(this.#res);
    this.#ended = true;
    this.#due.cancel();
    this.#drained();
    if (this.#streaming) this.#streamClosed(complete ? 'ended' : (this.#brokenOff ?? 'disconnected'));
    this.#listener.replyClosed(this, complete);
  };
}
