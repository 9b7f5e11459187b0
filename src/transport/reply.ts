import type { ServerResponse } from 'node:http';
import type { StreamKind } from '../events.js';
import type { TransportContext, TransportSide } from './context.js';

/** Told when the HTTP reply is over, whoever ended it. `complete`: the server ended it, and all of it went out. */
export interface ReplyListener {
  replyClosed(reply: Reply, complete: boolean): void;
}

const SSE_HEADERS = {
  'Content-Type': 'text/event-stream',
  // no-transform: compressing middleware and proxies would hold events back.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
};

/** Characters from which on a body is encoded before it is handed to Node. */
const LONG = 16_384;

const ignore = (): void => undefined;

function frame(json: string, eventId: string | undefined): string {
  return eventId === undefined
    ? `event: message\ndata: ${json}\n\n`
    : `event: message\nid: ${eventId}\ndata: ${json}\n\n`;
}

/**
 * One HTTP reply of the transport: a JSON body, or SSE events until it is ended. It holds its session until it is over.
 *
 * The head of an SSE reply goes out with its first event, so that a reply of one event is one write with a Content-Length;
 * a request that takes longer gets head and comment from the keep-alive.
 */
export class Reply {
  readonly #res: ServerResponse;
  readonly #kind: StreamKind;
  readonly #side: TransportSide;
  readonly #context: TransportContext;
  readonly #listener: ReplyListener;
  readonly #jsonFirst: boolean;
  #streaming = false;
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
    side.owner.hold();
    // A reset that arrives between our check and our write is no reason to crash; `close` follows.
    res.on('error', ignore);
    if (res.destroyed) queueMicrotask(this.#onClose);
    else res.once('close', this.#onClose);
    this.#context.quiet.add(this);
  }

  /** Whether something can still be sent. */
  get live(): boolean {
    const res = this.#res;
    // Other middleware may have answered in our place (a time-out, say): then nothing of ours may follow.
    if (this.#ended || res.writableEnded || res.destroyed) return false;
    return (this.#streaming || !res.headersSent) && res.socket?.destroyed !== true;
  }

  /** Whether the SSE head is out. */
  get streaming(): boolean {
    return this.#streaming;
  }

  /** Sends the whole reply as one JSON body. */
  json(text: string): void {
    this.#finish({ 'Content-Type': 'application/json' }, text);
  }

  /** Begins an SSE reply at once and tells the client how soon to reconnect. */
  begin(eventId?: string): void {
    // An event without data is not dispatched (HTML, 9.2.6), but its ID counts: the priming event of spec 2025-11-25.
    const prime = eventId === undefined ? '' : `id: ${eventId}\ndata: \n`;
    this.#write(`${prime}retry: ${this.#context.retryInterval}\n\n`);
  }

  event(json: string, eventId?: string): void {
    this.#write(frame(json, eventId));
  }

  /** The last event of the reply. */
  lastEvent(json: string, eventId?: string): void {
    if (this.#streaming) {
      this.event(json, eventId);
      this.end();
      return;
    }
    this.#finish(SSE_HEADERS, frame(json, eventId));
  }

  /** Ends the reply; an SSE reply of which nothing was sent ends empty. */
  end(): void {
    if (!this.live) return;
    if (!this.#streaming) {
      this.#finish(SSE_HEADERS, '');
      return;
    }
    this.#ended = true;
    this.#send(() => this.#res.end());
  }

  /** Ends the reply without waiting for its reader. */
  destroy(): void {
    this.#res.destroy();
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

  /** Called when nothing was written for `keepAlive`. */
  keepAlive(): void {
    const waiting = this.#res.writableLength;
    this.#stalled = waiting > 0;
    this.#drained();
    if (this.live && waiting === 0 && (this.#streaming || !this.#jsonFirst)) this.#write(': keep-alive\n\n');
    else if (this.#ended || waiting > this.#context.maxStreamBuffer) this.#watch();
    else this.#context.quiet.add(this);
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
      this.#context.quiet.add(this);
    };
    const decide = (): void => {
      if (this.#ended || res.writableLength > 0) res.destroy();
      else goOn();
    };
    res.setTimeout(this.#context.keepAlive, decide).once('drain', goOn);
  }

  #finish(headers: Record<string, string>, text: string): void {
    if (!this.live) return;
    this.#ended = true;
    // Node puts a string into one write with the head; a long one is better encoded once than measured and then encoded.
    const body = text.length > LONG ? Buffer.from(text) : text;
    this.#send(() => {
      this.#res.writeHead(200, this.#head(headers, Buffer.byteLength(body)));
      this.#res.end(body);
    });
  }

  #head(headers: Record<string, string>, length?: number): Record<string, string | number> {
    return {
      ...headers,
      ...(length !== undefined && { 'Content-Length': length }),
      ...(this.#side.sessionId !== undefined && { 'Mcp-Session-Id': this.#side.sessionId }),
    };
  }

  #write(text: string): void {
    if (!this.live) return;
    if (this.#full && this.#res.writableLength > this.#context.maxStreamBuffer) {
      this.#res.destroy();
      return;
    }
    this.#send(() => {
      if (!this.#streaming) {
        this.#streaming = true;
        this.#context.events.emit('streamOpened', this.#kind);
        this.#res.writeHead(200, this.#head(SSE_HEADERS));
      }
      this.#res.write(text);
    });
    this.#context.quiet.add(this);
    if (this.#res.writableLength > this.#context.maxStreamBuffer) setImmediate(this.#checkBuffer);
  }

  /**
   * Middleware may have wrapped the response. What it throws ends this reply and nothing else: thrown on, it would keep a
   * request from being settled, or come out of a timer and end the process.
   */
  #send(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#context.events.emit('failure', 'a reply could not be written', error, this.#side.sessionId);
      this.#res.destroy();
    }
  }

  /**
   * Looks again one turn of the event loop later: by then the kernel has taken what a healthy reader's socket can hold, so a
   * burst, or one message larger than the buffer, is not held against it. The next write is, if this much waits still.
   */
  readonly #checkBuffer = (): void => {
    this.#full = this.#res.writableLength > this.#context.maxStreamBuffer;
  };

  readonly #onClose = (): void => {
    // Of a destroyed socket, too, Node says that all was written (`writableFinished`): its buffer is empty then.
    const complete = this.#ended && !this.#res.req.socket.destroyed;
    this.#ended = true;
    this.#context.quiet.delete(this);
    this.#drained();
    if (this.#streaming) this.#context.events.emit('streamClosed', this.#kind);
    this.#listener.replyClosed(this, complete);
    this.#side.owner.release();
  };
}
