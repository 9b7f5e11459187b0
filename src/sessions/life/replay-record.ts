import type { MessageExtraInfo } from '../../protocol/wire-transport.js';
import type { CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import type { HttpTransport } from '../../transport/transport.js';
import type { SessionParts } from './open.js';
import { UnreadableRecord, type SessionRecord } from '../records/record-format.js';

const ignore = (): void => undefined;

/**
 * Repeats the requests of a record to a new server: `initialize`, the log level, the subscriptions. No client gets the answers.
 *
 * @throws UnreadableRecord when the server no longer supports the session's protocol version.
 * @throws Error when the server rejects `initialize`.
 */
export async function replayToServer(
  { builder, persistence }: SessionParts,
  events: Emitter<CoreEvents>,
  transport: HttpTransport,
  record: SessionRecord,
  extra: MessageExtraInfo,
): Promise<void> {
  const { id: sessionId, initialize, protocolVersion, logLevel } = record;
  const subscriptions = subscriptionsOf(record, persistence.maxSubscriptions, events);
  const params = { ...initialize, protocolVersion };
  const answer = await transport.initialize({ jsonrpc: '2.0', id: 'initialize', method: 'initialize', params }, extra);
  if ('error' in answer) throw new Error(`the server rejected initialize: ${answer.error.message}`);
  if (transport.protocolVersion !== protocolVersion) {
    throw new UnreadableRecord(`its server no longer speaks its protocol version: ${protocolVersion}`);
  }
  transport.tell({ jsonrpc: '2.0', method: 'notifications/initialized' }, extra);
  const repeat = async (method: string, params: Record<string, unknown>, id = method): Promise<void> => {
    const answer = await transport.ask({ jsonrpc: '2.0', id, method, params }, extra);
    if ('error' in answer) {
      events.emit('failure', `a restored server refuses ${method}`, new Error(answer.error.message), sessionId);
    }
  };
  if (logLevel !== undefined) await repeat('logging/setLevel', { level: logLevel });
  const answers: Promise<void>[] = [];
  // The subscriptions run at the same time, as together they might exceed `openTimeout`. Each one takes its share of the event
  // loop, as there may be thousands when many sessions are restored.
  for (const [n, uri] of subscriptions.entries()) {
    await builder.eventLoopBudget.runPiece(() => {
      const answer = repeat('resources/subscribe', { uri }, `resources/subscribe ${n}`);
      answer.catch(ignore);
      answers.push(answer);
    });
  }
  await Promise.all(answers);
}

/** The first `maxSubscriptions` ones. A record has more if the router that wrote it had a greater limit, or none. */
function subscriptionsOf(
  { id, subscriptions }: SessionRecord,
  maxSubscriptions: number,
  events: Emitter<CoreEvents>,
): readonly string[] {
  const tooMany = subscriptions.length - maxSubscriptions;
  if (tooMany <= 0) return subscriptions;
  const error = new Error(`${tooMany} subscriptions beyond maxSubscriptions are lost`);
  events.emit('failure', 'a session was restored in part', error, id);
  return subscriptions.slice(0, maxSubscriptions);
}
