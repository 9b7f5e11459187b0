import type { ServerResponse } from 'node:http';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import { errorResponse, Refusal } from '../errors.js';
import type { TransportSide } from './context.js';
import type { EventView } from './event-view.js';
import type { Answer, PendingRequests } from './pending.js';
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
 * A stream whose events are no longer kept. Where they were lost with an earlier life of the session, the standalone stream is
 * opened anew: refused, the SDK's client would never open another.
 *
 * @throws Refusal when it was none of this session's, or no answer can have been lost with its events.
 */
async function beginAgain(res: ServerResponse, lastEventId: string, streams: ResumableStreams): Promise<void> {
  const { side, view, standalone, pending, primed } = streams;
  const streamId = view.lostStreamOf(lastEventId);
  if (streamId === undefined || pending.stream(streamId) !== undefined) throw new Refusal('unknownEventId');
  if (streamId === view.standaloneId) return standalone.start(res, primed, true);
  const { answers, errors } = unstored(view, streamId, new Set());
  if (answers.length + errors.length === 0) throw new Refusal('unknownEventId');
  endWith(finishedReply(res, side), [...answers, ...errors]);
}

/**
 * A stream whose requests are all settled: what the client missed, then the end. Requests whose answers were not stored get
 * an error, or their client would wait for its time-out. Where nothing is left, 204 is how an event source is told to stop
 * reconnecting (HTML, 9.2.3); a client that polls would do so for ever.
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
  const { answers, errors } = unstored(view, streamId, answered);
  const rest = [...answers, ...errors];
  if (replay.reply !== undefined || rest.length > 0) return endWith(replay.begin(), rest);
  // Some answer was lost, and nothing tells for which requests: 204 would say that all is well.
  if (view.lossOf(streamId)?.requests.length === 0) throw new Refusal('unknownEventId');
  await replyEmpty(res, 204, side.owner);
}

interface Unstored {
  readonly answers: readonly string[];
  readonly errors: readonly string[];
}

/** What is still to be said of requests whose answers the store does not have: answers that are kept elsewhere, and errors. */
function unstored(view: EventView, streamId: string, answered: Set<RequestId | undefined>): Unstored {
  const answers = view.refusedAnswers(streamId).filter((json) => {
    const { id } = JSON.parse(json) as Answer;
    const isNew = !answered.has(id);
    answered.add(id);
    return isNew;
  });
  const { requests, reason } = view.lossOf(streamId) ?? { requests: [], reason: 'outcomeUnknown' };
  const lost = requests.filter((id) => !answered.has(id));
  return { answers, errors: lost.map((id) => JSON.stringify(errorResponse(reason, id))) };
}

const finishedReply = (res: ServerResponse, side: TransportSide): Reply =>
  new Reply(res, 'request', side, { replyClosed: () => undefined });

function endWith(reply: Reply, messages: readonly string[]): void {
  for (const json of messages) reply.event(json);
  reply.end();
}
