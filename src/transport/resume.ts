import type { ServerResponse } from 'node:http';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import { errorResponse, Refusal } from '../errors.js';
import type { TransportSide } from './context.js';
import type { EventView, StoredEvent } from './event-view.js';
import type { PendingRequests } from './pending.js';
import { replyEmpty } from './reply-empty.js';
import { Reply } from './reply.js';
import type { StandaloneStream } from './standalone-stream.js';

/** A transport's streams: where a client that comes back may find what it lost. */
export interface ResumableStreams {
  readonly side: TransportSide;
  readonly view: EventView;
  readonly standalone: StandaloneStream;
  readonly pending: PendingRequests;
  readonly isClosed: () => boolean;
  /** Whether a stream begins with an event that has no data. */
  readonly primed: boolean;
}

/**
 * Answers a GET with Last-Event-ID: what the client missed on that stream, then the stream itself if it goes on
 * (spec 2025-11-25, basic/transports, "Resumability and Redelivery").
 *
 * @throws Refusal: the event is not this session's, or not kept; the store does not answer; the session was closed meanwhile.
 */
export async function resume(res: ServerResponse, lastEventId: string, streams: ResumableStreams): Promise<void> {
  const { side, view, standalone, pending } = streams;
  try {
    const streamId = (await view.streamOf(lastEventId)) ?? quietStream(lastEventId, streams);
    if (streams.isClosed()) throw new Refusal('sessionNotFound');
    if (streamId === undefined) return await beginAgain(res, lastEventId, streams);
    if (streamId === view.standaloneId) return await standalone.resume(res, lastEventId, view);
    const stream = pending.stream(streamId);
    if (stream === undefined) return await replayFinished(res, lastEventId, streamId, streams);
    await stream.channel.resume(new Reply(res, 'request', side, stream), lastEventId, view);
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal('storeUnavailable', { cause: error });
  }
}

/** The stream that has been so quiet that the store let go even of the event that it ends with. */
function quietStream(lastEventId: string, { standalone, pending }: ResumableStreams): string | undefined {
  const stream = standalone.channel.endsWith(lastEventId) ? standalone : pending.streamEndingWith(lastEventId);
  return stream?.channel.streamId;
}

/**
 * A stream whose events were lost with an earlier life of the session. Refused, the SDK's client would never open another.
 *
 * @throws Refusal when it was none of this session's.
 */
async function beginAgain(res: ServerResponse, lastEventId: string, streams: ResumableStreams): Promise<void> {
  const { side, view, standalone, primed } = streams;
  const streamId = view.lostStreamOf(lastEventId);
  if (streamId === view.standaloneId) return standalone.start(res, primed, true);
  const lost = streamId === undefined ? [] : view.lostRequests(streamId);
  if (lost.length === 0) throw new Refusal('unknownEventId');
  await replyWith(res, side, [], lost);
}

/**
 * A stream whose requests are all settled: what the client missed, then the end. Requests that an earlier life of the session
 * did not live to answer get an error, or their client would wait for its time-out. Where nothing is left, 204 is how an
 * event source is told to stop reconnecting (HTML, 9.2.3); a client that polls would do so for ever.
 */
async function replayFinished(
  res: ServerResponse,
  lastEventId: string,
  streamId: string,
  { side, view }: ResumableStreams,
): Promise<void> {
  const missed = await view.eventsAfter(lastEventId, streamId);
  if (missed === undefined) throw new Refusal('unknownEventId');
  const answered = new Set(missed.map(({ answers }) => answers));
  const lost = view.lostRequests(streamId).filter((id) => !answered.has(id));
  if (missed.length === 0 && lost.length === 0) return replyEmpty(res, 204, side.owner);
  await replyWith(res, side, missed, lost);
}

async function replyWith(
  res: ServerResponse,
  side: TransportSide,
  missed: readonly StoredEvent[],
  lost: readonly RequestId[],
): Promise<void> {
  const reply = new Reply(res, 'request', side, { replyClosed: () => undefined });
  for (const { id, json } of missed) {
    reply.event(json, id);
    await reply.drained();
  }
  for (const id of lost) reply.event(JSON.stringify(errorResponse('outcomeUnknown', id)));
  reply.end();
}
