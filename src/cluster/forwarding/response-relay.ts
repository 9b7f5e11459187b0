import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { isRepliedError } from '../../errors.js';
import { SSE_TYPE } from '../../transport/reply-form.js';
import { noteError } from '../../transport/response-facts.js';
import { BEGUN, ERROR, PEER } from '../port/node-client.js';
import type { NodeResponse } from '../port/node-port.js';

/**
 * Headers that are not relayed. RFC 9110, 7.6.1 lists those that belong to one connection. Node sets `Date` itself. The
 * cluster's own headers would show the client which node answers.
 */
const HOP_BY_HOP = new Set([
  BEGUN,
  ERROR,
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

/** An empty line ends an event (HTML, 9.2.5). */
const EVENT_END = Buffer.from('\n\n');

/** Text of an event stream that has only comments (HTML, 9.2.6). */
const COMMENTS = /^(?::[^\n]*\n\n)*$/;

/** Relays the answers of other nodes to clients. */
export class ResponseRelay {
  readonly #stalled: number;
  /** Functions that each end one standalone stream. Its client then opens a new one on another node. */
  readonly #streams = new Set<(last: string) => void>();

  /** @param stalled - The time without reading after which a client has stalled, in ms. */
  constructor(stalled: number) {
    this.#stalled = stalled;
  }

  /**
   * Relays the answer of another node to the client. If the answer breaks off, the reply breaks off, too. Never rejects.
   *
   * @param isStream - Whether the answer is a standalone stream.
   * @param lost - Makes the last events of a stream that breaks off before its first event. If it is not set, or returns
   * undefined, the reply breaks off.
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
    const error = response.headers[ERROR];
    if (isRepliedError(error)) noteError(res, error);
    const headers: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(response.headers)) if (!HOP_BY_HOP.has(name)) headers[name] = value;
    // The app's middleware may have wrapped the response. An error that it throws ends this reply only.
    const attempt = (write: () => void): void => {
      try {
        write();
      } catch {
        res.destroy();
      }
    };
    // Node sends the head together with the first bytes of the body. If this process died after a head alone, the client would
    // have no event to resume from, and would wait for ever.
    attempt(() => res.writeHead(Number(response.statusCode), headers));
    let betweenEvents = true;
    let hasEvents = !isOpenStream(response);
    const pass = (chunk: Buffer): void =>
      attempt(() => {
        hasEvents ||= !COMMENTS.test(chunk.toString('latin1'));
        betweenEvents = chunk.subarray(-EVENT_END.length).equals(EVENT_END);
        if (!res.write(chunk)) response.pause();
      });
    const finish = (): void => attempt(() => res.end());
    const end = (last: string): void => {
      response.off('data', pass);
      // Within an event, `last` would become a part of that event.
      attempt(() => res.end(betweenEvents ? last : undefined));
      response.destroy();
    };
    if (isStream) this.#streams.add(end);
    // The owner ends its reply to a stalled client, but this node does not see that end: it has paused the answer.
    const stop = (): void => void res.destroy();
    res.setTimeout(this.#stalled, stop);
    // Not `pipeline`: it makes an `AbortError` with a stack trace for each stream that ends normally.
    const broken = (): void => {
      if (response.readableEnded || res.writableEnded) return;
      const last = hasEvents ? undefined : lost?.();
      if (last === undefined) res.destroy();
      else attempt(() => res.end(last));
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

  /** @param last - Written before the end of a stream, unless the stream ends within an event. */
  endStreams(last: string): void {
    for (const end of this.#streams) end(last);
  }
}

/** Whether the answer is an event stream of unknown length. */
function isOpenStream({ headers }: NodeResponse): boolean {
  return headers['content-type'] === SSE_TYPE && headers['content-length'] === undefined;
}
