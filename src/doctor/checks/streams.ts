import { setTimeout as sleep } from 'node:timers/promises';
import { expect, OK, problem, SESSION_ERA, SESSION_ID, skipped, type CheckGroup, type Need } from '../check.js';
import type { Probe } from '../probe.js';
import { type Reply, isAnswerTo, isStream, summaryOf } from '../reply.js';
import { BASIC, TRANSPORTS } from '../spec.js';

const LISTENING = `${TRANSPORTS}#listening-for-messages-from-the-server`;

/** In ms. Between two tries to open a stream again. */
const RETRY_PAUSE = 200;
/** In ms. How long a misplaced answer may take to arrive. */
const MISPLACED_WAIT = 300;
/** Replies that are left unread at a time. */
const UNREAD = 3;

const isOpen = (reply: Reply): boolean => reply.status === 200 && isStream(reply);

/** Whether the endpoint has a stream for GET is known only after a GET. */
const offersStream = (probe: Probe): boolean =>
  probe.client.replies.some((reply) => reply.call.method === 'GET' && isOpen(reply));

const GET_STREAM: Need = (probe) =>
  SESSION_ID(probe) ?? (offersStream(probe) ? undefined : 'the endpoint has no stream for GET');

/** The streams of the session era. */
export const STREAMS: CheckGroup = {
  name: 'Streams',
  checks: [
    {
      id: 'get',
      title: 'GET opens an event stream at once, or is answered with 405',
      severity: 'error',
      source: LISTENING,
      mend: 'Send the head of the stream at once (`res.flushHeaders()`), and see that no proxy waits for the end of the reply.',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const stream = await probe.openStream();
        if (!isOpen(stream)) await stream.read(RETRY_PAUSE);
        stream.close();
        return expect(isOpen(stream) || stream.status === 405, stream);
      },
    },
    {
      id: 'reconnect',
      title: 'After a client has hung up, it can open the stream again',
      severity: 'error',
      source: LISTENING,
      mend: 'Forget a stream when its connection closes, or let a new one take its place.',
      needs: [GET_STREAM],
      run: async (probe) => {
        (await probe.openStream()).close();
        const deadline = performance.now() + probe.options.timeoutMs;
        for (;;) {
          const stream = await probe.openStream();
          if (!isOpen(stream)) await stream.read(RETRY_PAUSE);
          stream.close();
          if (isOpen(stream)) return OK;
          if (performance.now() > deadline) return problem(summaryOf(stream));
          await sleep(RETRY_PAUSE);
        }
      },
    },
    {
      id: 'second-get',
      title: 'A second GET is answered while the first stream is open: not with 5xx, and not by silence',
      severity: 'warning',
      source: `${TRANSPORTS}#multiple-connections`,
      mend: 'Open another stream, replace the first one, or answer 409.',
      needs: [GET_STREAM],
      run: async (probe) => {
        const first = await probe.openStream();
        const opened = openSecond(probe).finally(() => first.close());
        const [second] = await Promise.all([opened, answerPing(probe, first)]);
        return expect(second.status < 500, second);
      },
    },
    {
      id: 'answer-on-its-own-reply',
      title: 'The stream of a GET has no answer to a request that was POSTed',
      severity: 'error',
      source: LISTENING,
      mend: 'Send each answer on the reply to its POST.',
      needs: [GET_STREAM],
      run: async (probe) => {
        const stream = await probe.openStream();
        const id = 'doctor-misplaced';
        await probe.inSession({ id });
        const isMisplaced = () => stream.body.messages.some(isAnswerTo(id));
        await stream.read(MISPLACED_WAIT, isMisplaced);
        stream.close();
        return expect(!isMisplaced(), stream);
      },
    },
    {
      id: 'stalled-reader',
      title: 'A client that does not read its stream and its replies gets its next answers all the same',
      severity: 'error',
      source: `${BASIC}/utilities/ping#behavior-requirements`,
      mend: 'Never await the write to one connection before you serve another.',
      needs: [GET_STREAM],
      run: async (probe) => {
        const unread = [await probe.openStream()];
        for (let i = 0; i < UNREAD; i++) unread.push(await probe.inSession({ isUnread: true }));
        const reply = await probe.inSession();
        for (const each of unread) each.close();
        return expect(reply.answer !== undefined, reply);
      },
    },
    {
      id: 'last-event-id',
      title: 'A `Last-Event-ID` that the server does not know is no fault of the server: no 5xx',
      severity: 'warning',
      source: `${TRANSPORTS}#resumability-and-redelivery`,
      mend: 'Answer 400, or open the stream without a replay.',
      needs: [GET_STREAM],
      run: async (probe) => {
        const stream = await probe.openStream({ 'last-event-id': 'doctor-unknown' });
        if (!isOpen(stream)) await stream.read(RETRY_PAUSE);
        stream.close();
        return expect(stream.status < 500, stream);
      },
    },
    {
      id: 'event-ids',
      title: 'No two events of a session have the same ID',
      severity: 'error',
      source: `${TRANSPORTS}#resumability-and-redelivery`,
      mend: 'Put the stream into the ID of an event, or count over the whole session.',
      needs: [SESSION_ID],
      run: async (probe) => {
        const replies = [await probe.inSession(), await probe.inSession()];
        const ids = replies.flatMap((reply) => reply.body.events.flatMap(({ id }) => (id === undefined ? [] : [id])));
        if (ids.length === 0) return skipped('the events have no IDs: streams cannot be resumed');
        const twice = ids.find((id, index) => ids.indexOf(id) !== index);
        return twice === undefined ? OK : problem(`two events have the ID ${JSON.stringify(twice)}`);
      },
    },
    {
      id: 'stream-end',
      title: 'The event stream of a reply ends after its answer',
      severity: 'warning',
      source: `${TRANSPORTS}#sending-messages-to-the-server`,
      mend: 'End the reply after the answer, or connections pile up.',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const reply = await probe.inSession();
        if (!isStream(reply)) return skipped('the reply is JSON');
        return reply.hasEnded ? OK : problem('the reply was still open a second after its answer');
      },
    },
  ],
};

async function openSecond(probe: Probe): Promise<Reply> {
  const stream = await probe.openStream();
  if (!isOpen(stream)) await stream.read(RETRY_PAUSE);
  stream.close();
  return stream;
}

/** A server may ask whether the client of a stream is still there. Resolves once that was answered, or the stream is closed. */
async function answerPing(probe: Probe, stream: Reply): Promise<void> {
  const ping = () => stream.body.messages.find(({ method }) => method === 'ping');
  await stream.read(probe.options.timeoutMs, () => ping() !== undefined);
  const id = ping()?.id;
  if (id !== undefined)
    await probe.inSession({ body: [Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, result: {} }))] });
}
