import type { ServerResponse } from 'node:http';
import type { RequestId } from '../protocol/messages.js';
import { errorResponse, Refusal, type ErrorName } from '../errors.js';
import type { ResumeOutcome } from '../events.js';
import type { TransportSide } from './transport-types.js';
import type { SessionEventLog } from './session-events.js';
import type { Answer, PendingRequests } from './pending-requests.js';
import { Replay, ReplayStopped, type Replays } from './replay.js';
import { replyEmpty } from './response.js';
import { noteError } from './response-facts.js';
import { Reply } from './reply.js';
import type { StandaloneStream } from './standalone-stream.js';

/** The streams of a transport that a client can resume. */
export interface ResumableStreams {
  readonly side: TransportSide;
  readonly eventLog: SessionEventLog;
  readonly standalone: StandaloneStream;
  readonly pending: PendingRequests;
  readonly replays: Replays;
  readonly isClosed: () => boolean;
  /** Whether a stream begins with an event that has no data. */
  readonly primed: boolean;
}

/**
 * Answers a GET with Last-Event-ID. Sends the events that the client missed on that stream, then later ones if the stream goes
 * on (spec 2025-11-25, basic/transports, "Resumability and Redelivery").
 *
 * A newer resume of a stream ends the older one: a client that still had the older reply would not resume again.
 *
 * @throws Refusal `unknownEventId` when the event belongs to another session, or is no longer kept.
 * @throws Refusal `storeUnavailable` when the store fails.
 * @throws Refusal `sessionNotFound` when the session is closed during the resume.
 */
export async function resume(res: ServerResponse, lastEventId: string, streams: ResumableStreams): Promise<void> {
  const { side, eventLog, replays } = streams;
  // Half of the stream buffer: a burst that is written at once must not overflow it.
  const replay = new Replay(res, side.context.maxStreamBuffer / 2);
  // Until the stream is known, the event is the key. No stream ID begins with a question mark.
  let key = `?${lastEventId}`;
  const resumed = (outcome: ResumeOutcome | undefined): void => {
    if (outcome !== undefined) side.context.events.emit('streamResumed', outcome);
  };
  try {
    replays.begin(key, replay);
    const streamId = (await eventLog.streamOf(lastEventId, replay)) ?? quietStream(lastEventId, streams);
    replays.end(key, replay);
    if (streams.isClosed()) throw new Refusal('sessionNotFound');
    if (streamId === undefined) {
      if (replay.stopped) return;
      await beginAgain(res, lastEventId, streams);
      resumed('lost');
      return;
    }
    replays.begin((key = streamId), replay);
    resumed(await replayStream(res, replay, lastEventId, streamId, streams));
    if (replay.stopped) fail(new ReplayStopped(), res, replay, streams);
  } catch (error) {
    if (error instanceof Refusal && error.reason === 'unknownEventId') resumed('lost');
    fail(error, res, replay, streams);
  } finally {
    replays.end(key, replay);
    replay.release();
  }
}

/** Undefined when the client disconnected first. */
async function replayStream(
  res: ServerResponse,
  replay: Replay,
  lastEventId: string,
  streamId: string,
  streams: ResumableStreams,
): Promise<ResumeOutcome | undefined> {
  const { eventLog, standalone, pending } = streams;
  const stream = pending.stream(streamId);
  const isStandalone = streamId === eventLog.standaloneId;
  if (!isStandalone && stream === undefined) return replayFinished(res, replay, lastEventId, streamId, streams);
  const caughtUp = isStandalone
    ? await standalone.resume(res, replay, lastEventId, eventLog)
    : await stream?.events.resume(replay, lastEventId, eventLog, () => stream.openReply(res));
  return caughtUp === true ? 'recovered' : undefined;
}

/** @throws Refusal when the reply has not begun and the client is still connected. */
function fail(error: unknown, res: ServerResponse, replay: Replay, { side, isClosed }: ResumableStreams): void {
  if (replay.reply === undefined && !res.headersSent && isClosed()) throw new Refusal('sessionNotFound');
  if (replay.stopped) return;
  if (replay.reply === undefined) {
    throw error instanceof Refusal ? error : new Refusal('storeUnavailable', { cause: error });
  }
  // The reply is broken off, not ended, so that the client resumes for the missing events.
  side.context.events.emit('failure', 'a replay could not go on', error, side.sessionId);
  replay.destroy('failed');
}

/** The stream that ends with the event, when it was quiet for so long that the store has deleted even its last event. */
function quietStream(lastEventId: string, { standalone, pending }: ResumableStreams): string | undefined {
  const stream = standalone.events.endsWith(lastEventId) ? standalone : pending.streamEndingWith(lastEventId);
  return stream?.events.streamId;
}

/**
 * Resumes a stream whose events are no longer kept. If an earlier process had the standalone stream, a new one is opened: after
 * a refusal the SDK's client would never open one.
 *
 * @throws Refusal `unknownEventId` when the stream is not this session's, or no answer was lost with its events.
 */
async function beginAgain(res: ServerResponse, lastEventId: string, streams: ResumableStreams): Promise<void> {
  const { side, eventLog, standalone, pending, primed } = streams;
  const streamId = eventLog.lostStreamOf(lastEventId);
  if (streamId === undefined || pending.stream(streamId) !== undefined) throw new Refusal('unknownEventId');
  if (streamId === eventLog.standaloneId) return standalone.start(res, primed, true);
  const rest = unstored(eventLog, streamId, new Set());
  if (isEmpty(rest)) throw new Refusal('unknownEventId');
  endWith(res, finishedReply(res, side), rest);
}

/**
 * Resumes a stream without unsettled requests: sends the events that the client missed, and ends the reply. A request without
 * a stored answer gets an error, as its client would otherwise wait for its time-out. If no event was missed, the status is
 * 204. It tells an event source to stop reconnecting (HTML, 9.2.3). Without it, a client that polls would never stop.
 */
async function replayFinished(
  res: ServerResponse,
  replay: Replay,
  lastEventId: string,
  streamId: string,
  { side, eventLog }: ResumableStreams,
): Promise<ResumeOutcome | undefined> {
  replay.open = () => finishedReply(res, side);
  const answered = new Set<RequestId | undefined>();
  const known = await eventLog.replay(lastEventId, streamId, {
    take(event) {
      answered.add(event.answers);
      return replay.take(event);
    },
  });
  if (!known) throw new Refusal('unknownEventId');
  if (replay.stopped) return undefined;
  const rest = unstored(eventLog, streamId, answered);
  const outcome = rest.errors.length === 0 ? 'recovered' : 'lost';
  if (replay.reply !== undefined || !isEmpty(rest)) {
    endWith(res, replay.begin(), rest);
    return outcome;
  }
  // An answer was lost, and its request is not known. The status 204 would hide the loss from the client.
  if (eventLog.lossOf(streamId)?.requests.length === 0) throw new Refusal('unknownEventId');
  await replyEmpty(res, 204, side.owner);
  return outcome;
}

interface Unstored {
  readonly answers: readonly string[];
  readonly errors: readonly string[];
  /** The error in `errors`. */
  readonly reason: ErrorName;
}

/** For requests without a stored answer: the answers that are kept in memory, and errors for the others. */
function unstored(eventLog: SessionEventLog, streamId: string, answered: Set<RequestId | undefined>): Unstored {
  const answers = eventLog.refusedAnswers(streamId).filter((json) => {
    const { id } = JSON.parse(json) as Answer;
    const isNew = !answered.has(id);
    answered.add(id);
    return isNew;
  });
  const { requests, reason } = eventLog.lossOf(streamId) ?? { requests: [], reason: 'outcomeUnknown' };
  const lost = requests.filter((id) => !answered.has(id));
  return { answers, errors: lost.map((id) => JSON.stringify(errorResponse(reason, id))), reason };
}

function finishedReply(res: ServerResponse, side: TransportSide): Reply {
  const lease = side.owner?.acquire('request');
  return new Reply(res, 'request', side, { replyClosed: () => lease?.release() });
}

function isEmpty({ answers, errors }: Unstored): boolean {
  return answers.length + errors.length === 0;
}

function endWith(res: ServerResponse, reply: Reply, { answers, errors, reason }: Unstored): void {
  if (errors.length > 0) noteError(res, reason);
  for (const json of [...answers, ...errors]) reply.event(json);
  reply.end();
}
