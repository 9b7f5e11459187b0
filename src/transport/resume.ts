import type { ServerResponse } from 'node:http';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import { errorResponse, Refusal } from '../errors.js';
import type { TransportSide } from './context.js';
import type { EventView } from './event-view.js';
import type { PendingRequests } from './pending.js';
import { Replay, ReplayStopped, type Replays } from './replay.js';
import { replyEmpty } from './reply-empty.js';
import { Reply } from './reply.js';
import type { StandaloneStream } from './standalone-stream.js';

/** A transport's streams: where a client that comes back may find what it lost. */
export interface ResumableStreams {
  readonly side: TransportSide;
  readonly view: EventView;
  readonly standalone: StandaloneStream;
  readonly pending: PendingRequests;
  readonly replays: Replays;
  readonly isClosed: () => boolean;
  /** Whether a stream begins with an event that has no data. */
  readonly primed: boolean;
}

/**
 * Answers a GET with Last-Event-ID: what the client missed on that stream, then the stream itself if it goes on
 * (spec 2025-11-25, basic/transports, "Resumability and Redelivery").
 *
 * The newest resume of a stream ends the one before it: its client has lost that one, or it would not ask again.
 *
 * @throws Refusal: the event is not this session's, or not kept; the store does not answer; the session was closed meanwhile.
 */
export async function resume(res: ServerResponse, lastEventId: string, streams: ResumableStreams): Promise<void> {
  const { side, view, replays } = streams;
  // A burst that is written at once may fill the reader's buffer, and no more.
  const replay = new Replay(res, side.context.maxStreamBuffer / 2);
  // No stream ID begins so. Until its stream is known, a resume goes by its event.
  let key = `?${lastEventId}`;
  try {
    replays.begin(key, replay);
    const streamId = (await view.streamOf(lastEventId, replay)) ?? quietStream(lastEventId, streams);
    replays.end(key, replay);
    if (streams.isClosed()) throw new Refusal('sessionNotFound');
    if (streamId === undefined) {
      if (!replay.stopped) await beginAgain(res, lastEventId, streams);
      return;
    }
    replays.begin((key = streamId), replay);
    await replayStream(res, replay, lastEventId, streamId, streams);
    if (replay.stopped) fail(new ReplayStopped(), res, replay, streams);
  } catch (error) {
    fail(error, res, replay, streams);
  } finally {
    replays.end(key, replay);
    replay.release();
  }
}

async function replayStream(
  res: ServerResponse,
  replay: Replay,
  lastEventId: string,
  streamId: string,
  streams: ResumableStreams,
): Promise<void> {
  const { side, view, standalone, pending } = streams;
  if (streamId === view.standaloneId) return standalone.resume(res, replay, lastEventId, view);
  const stream = pending.stream(streamId);
  if (stream === undefined) return replayFinished(res, replay, lastEventId, streamId, streams);
  return stream.channel.resume(replay, lastEventId, view, () => new Reply(res, 'request', side, stream));
}

/** @throws Refusal where the client can still be answered, and waits for it. */
function fail(error: unknown, res: ServerResponse, replay: Replay, { side, isClosed }: ResumableStreams): void {
  if (replay.reply === undefined && !res.headersSent && isClosed()) throw new Refusal('sessionNotFound');
  if (replay.stopped) return;
  if (replay.reply === undefined) {
    throw error instanceof Refusal ? error : new Refusal('storeUnavailable', { cause: error });
  }
  // Broken off and not ended: the client is to come again for what is missing.
  side.context.events.emit('failure', 'a replay could not go on', error, side.sessionId);
  replay.destroy();
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
  endWith(finishedReply(res, side), lost);
}

/**
 * A stream whose requests are all settled: what the client missed, then the end. Requests that an earlier life of the session
 * did not live to answer get an error, or their client would wait for its time-out. Where nothing is left, 204 is how an
 * event source is told to stop reconnecting (HTML, 9.2.3); a client that polls would do so for ever.
 */
async function replayFinished(
  res: ServerResponse,
  replay: Replay,
  lastEventId: string,
  streamId: string,
  { side, view }: ResumableStreams,
): Promise<void> {
  replay.open = () => finishedReply(res, side);
  const answered = new Set<RequestId | undefined>();
  const known = await view.replay(lastEventId, streamId, {
    take(event) {
      answered.add(event.answers);
      return replay.take(event);
    },
  });
  if (!known) throw new Refusal('unknownEventId');
  if (replay.stopped) return;
  const lost = view.lostRequests(streamId).filter((id) => !answered.has(id));
  if (replay.reply === undefined && lost.length === 0) return replyEmpty(res, 204, side.owner);
  endWith(replay.begin(), lost);
}

const finishedReply = (res: ServerResponse, side: TransportSide): Reply =>
  new Reply(res, 'request', side, { replyClosed: () => undefined });

function endWith(reply: Reply, lost: readonly RequestId[]): void {
  for (const id of lost) reply.event(JSON.stringify(errorResponse('outcomeUnknown', id)));
  reply.end();
}
