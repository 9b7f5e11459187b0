import { ANY_ERA, OK, PER_REQUEST, problem, SESSION_ERA, skipped, type CheckGroup, type Need } from '../check.js';
import type { Probe } from '../probe.js';
import { type Reply, fieldOf, isStream, summaryOf } from '../reply.js';
import { encodeHeader } from '../../protocol/encoded-header.js';
import { CODES, HTTP, LATER_HTTP, SUBSCRIPTION_ID_FIELD, SUBSCRIPTIONS } from '../spec.js';

const LISTEN_ID = 'doctor-listen';

/** In ms. A call that takes less says nothing about when its events arrive. */
const LONG_CALL = 1_000;
/** The part of a call after which its first event counts as late. */
const LATE = 0.9;

/** The `Accept-Encoding` of a browser. */
const ENCODINGS = 'gzip, deflate, br';

const TOOL: Need = ({ options }) => (options.tool === undefined ? 'no --call was given' : undefined);

const hasMessage = ({ body }: Reply): boolean => body.messages.length > 0 || body.hasOther;

/** Opens a subscription, reads it to its first message, and hangs up. */
async function listen(probe: Probe): Promise<Reply> {
  const stream = await probe.perRequest({
    method: 'subscriptions/listen',
    id: LISTEN_ID,
    params: { notifications: { toolsListChanged: true } },
    isUnread: true,
  });
  await stream.read(probe.options.timeoutMs, () => hasMessage(stream));
  stream.close();
  return stream;
}

const hasNoSubscriptions = ({ error }: Reply): boolean => error?.code === CODES.methodNotFound;

/** Streams as they arrive here, through every proxy on the way. */
export const PROXIES: CheckGroup = {
  name: 'Streams through proxies',
  checks: [
    {
      id: 'first-event',
      title: 'The first event of an open stream arrives at once: no proxy waits for more of them',
      severity: 'error',
      source: `${SUBSCRIPTIONS}#acknowledgment`,
      mend: 'Switch buffering off for the endpoint (nginx: `proxy_buffering off`), and compression too.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const stream = await listen(probe);
        if (hasNoSubscriptions(stream)) return skipped('the server has no subscriptions');
        if (stream.body.text !== '') return OK;
        return problem(`subscriptions/listen had no event within ${probe.options.timeoutMs / 1_000} s`);
      },
    },
    {
      id: 'subscription',
      title: 'A subscription begins with its acknowledgement, which names it',
      severity: 'error',
      source: `${SUBSCRIPTIONS}#acknowledgment`,
      mend: 'Send `notifications/subscriptions/acknowledged` with the ID of the request first.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const stream = await listen(probe);
        if (hasNoSubscriptions(stream)) return skipped('the server has no subscriptions');
        const [first] = stream.body.messages;
        const id = fieldOf(fieldOf(fieldOf(first, 'params'), '_meta'), SUBSCRIPTION_ID_FIELD);
        const isAcknowledged = first?.method === 'notifications/subscriptions/acknowledged' && id === LISTEN_ID;
        return isAcknowledged ? OK : problem(summaryOf(stream));
      },
    },
    {
      id: 'buffering-header',
      title: 'Event streams have `X-Accel-Buffering: no`, which tells nginx not to hold them back',
      severity: 'warning',
      source: `${LATER_HTTP}#receiving-messages`,
      mend: 'Set the header on each event stream.',
      needs: [PER_REQUEST],
      run: async (probe) => {
        const stream = await listen(probe);
        if (!isStream(stream)) return skipped('the reply to subscriptions/listen is no event stream');
        if (stream.headers['x-accel-buffering'] === 'no') return OK;
        // nginx removes the header when it obeys.
        const mayBeRemoved = !probe.facts.isLocal || /^nginx/.test(String(stream.headers.server));
        return mayBeRemoved
          ? skipped('a proxy may have removed it')
          : problem('the stream of subscriptions/listen lacks it');
      },
    },
    {
      id: 'compression',
      title: 'Event streams are not compressed, as a compressor holds events back',
      severity: 'warning',
      source: `${HTTP}#section-8.4`,
      mend: 'Leave `text/event-stream` out of the compression, or send `Cache-Control: no-transform`.',
      needs: [SESSION_ERA],
      run: async (probe) => {
        const stream = await probe.openStream({ 'accept-encoding': ENCODINGS });
        stream.close();
        if (!isStream(stream)) return skipped('the endpoint has no stream for GET');
        const encoding = stream.headers['content-encoding'] ?? 'identity';
        return encoding === 'identity' ? OK : problem(`the stream of a GET has Content-Encoding: ${encoding}`, 'info');
      },
    },
    {
      id: 'call',
      title: 'The tool of `--call` is answered, and what it reports meanwhile arrives meanwhile',
      severity: 'warning',
      source: `${LATER_HTTP}#receiving-messages`,
      mend: 'Switch buffering off in every proxy, if the tool itself does not report at its end only.',
      needs: [ANY_ERA, TOOL],
      run: async (probe) => {
        const { tool = '', timeoutMs } = probe.options;
        const params = { name: tool, arguments: {} };
        const start = performance.now();
        const reply = await openCall(probe, params);
        await reply.read(timeoutMs, () => hasMessage(reply));
        const first = performance.now() - start;
        await reply.read(timeoutMs, () => reply.answer !== undefined);
        const total = performance.now() - start;
        reply.close();
        if (reply.answer === undefined) return problem(summaryOf(reply));
        const isLate = total > LONG_CALL && reply.body.messages.length > 1 && first > LATE * total;
        return isLate
          ? problem(`the first event came after ${first.toFixed(0)} of ${total.toFixed(0)} ms`, 'info')
          : OK;
      },
    },
  ],
};

function openCall(probe: Probe, params: { readonly name: string; readonly arguments: object }): Promise<Reply> {
  const ask = {
    method: 'tools/call',
    id: 'doctor-call',
    params,
    meta: { progressToken: 'doctor-call' },
    isUnread: true,
  };
  if (probe.facts.session !== undefined) return probe.inSession(ask);
  return probe.perRequest({ ...ask, headers: { 'mcp-name': encodeHeader(params.name) } });
}
