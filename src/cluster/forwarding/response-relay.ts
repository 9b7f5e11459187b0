import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { SSE_TYPE } from '../../transport/reply-form.js';
import { BEGUN, PEER } from '../port/node-client.js';
import type { NodeResponse } from '../port/node-port.js';

/**
 * Headers that are not passed on. RFC 9110, 7.6.1 names those of one connection. Node sets `Date` itself, and the client must
 * not learn which node answers.
 */
const HOP_BY_HOP = new Set([
  BEGUN,
  PEER,
  'connection',
  'date',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** What the end of an event looks like (HTML, 9.2.5). */
const EVENT_END = Buffer.from('\n\n');

/** Nothing but comments (HTML, 9.2.6). */
const COMMENTS = /^(?::[^\n]*\n\n)*$/;

/** Passes the answers of other nodes to clients. */
export class ResponseRelay {
  readonly #stalled: number;
  /** Ends a standalone stream, whose client then finds another node to open it on. */
  readonly #streams = new Set<(last: string) => void>();

  /** @param stalled - How long a client may read nothing of an answer, in ms. */
  constructor(stalled: number) {
    this.#stalled = stalled;
  }

  /**
   * Gives the client the answer of another node. If that breaks off, so does the client's reply. Never rejects.
   *
   * @param isStream - Whether the answer is a standalone stream.
   * @param lost - Makes the last events of a stream that breaks off before its first event. Without it, the reply just breaks off.
   */
  async relay(
    response: NodeResponse,
    res: ServerResponse,
    isStream: boolean,
    lost?: () => string | undefined,
  ): Promise<void> {
    if (res.destroyed || res.headersSent) {
      response.destroy();
      return;
    }
    const headers: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(response.headers)) if (!HOP_BY_HOP.has(name)) headers[name] = value;
    // The head goes out with the first bytes of the body. If this process died after a lone head, the client would have no event
    // to resume from, and would wait for ever.
    // The app's middleware may have wrapped the response. An error that it throws ends this reply only.
    const say = (write: () => void): void => {
      try {
        write();
      } catch {
        res.destroy();
      }
    };
    say(() => res.writeHead(Number(response.statusCode), headers));
    let betweenEvents = true;
    let hasEvents = !isOpenStream(response);
    const pass = (chunk: Buffer): void =>
      say(() => {
        hasEvents ||= !COMMENTS.test(chunk.toString('latin1'));
        betweenEvents = chunk.subarray(-EVENT_END.length).equals(EVENT_END);
        if (!res.write(chunk)) response.pause();
      });
    const finish = (): void => say(() => res.end());
    const end = (last: string): void => {
      response.off('data', pass);
      // Within an event, `last` would become a part of it.
      say(() => res.end(betweenEvents ? last : undefined));
      response.destroy();
    };
    if (isStream) this.#streams.add(end);
    // The owner ends its reply to a reader that has stalled; with the answer held back, that end is never read here.
    const stop = (): void => void res.destroy();
    res.setTimeout(this.#stalled, stop);
    // Not `pipeline`: it makes an `AbortError` with its stack for each stream that ends well.
    const broken = (): void => {
      if (response.readableEnded || res.writableEnded) return;
      const last = hasEvents ? undefined : lost?.();
      if (last === undefined) res.destroy();
      else say(() => res.end(last));
    };
    response.once('close', broken);
    // Not `pipe`: it does not catch an error that a wrapped `write` throws.
    if (response.readableEnded) finish();
    else response.on('error', broken).once('end', finish).on('data', pass).resume();
    res.on('drain', () => response.resume()).on('error', stop);
    await new Promise<void>((resolve) => res.once('close', resolve));
    response.destroy();
    this.#streams.delete(end);
    // Node does not remove the listener that `setTimeout` added.
    res.setTimeout(0).off('timeout', stop);
  }

  /** @param last - Written before the end of a stream that does not end within an event. */
  endStreams(last: string): void {
    for (const end of this.#streams) end(last);
  }
}

/** Whether it is a stream of events whose length is not known. */
function isOpenStream({ headers }: NodeResponse): boolean {
  return headers['content-type'] === SSE_TYPE && headers['content-length'] === undefined;
}
