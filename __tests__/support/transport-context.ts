import type { CoreEvents } from '../../src/events.js';
import type { Clock } from '../../src/runtime/clock.js';
import { DeadlineQueue } from '../../src/runtime/deadline-queue.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { ReplyMemory } from '../../src/transport/reply-memory.js';
import { RequestMemory } from '../../src/transport/request-memory.js';
import type { TransportContext, TransportOwner } from '../../src/transport/transport-types.js';

const QUIET_MS = 15_000;

/** What the transports of a router share, with bounds that no small test reaches. Nothing happens at a deadline. */
export function transportContext(clock: Clock, changed: Partial<TransportContext> = {}): TransportContext {
  const queue = <T>(): DeadlineQueue<T> => new DeadlineQueue<T>(clock, QUIET_MS, () => undefined);
  const events = changed.events ?? new Emitter<CoreEvents>(() => undefined);
  return {
    era: 'session',
    clock,
    events,
    enableJsonResponse: false,
    retryInterval: undefined,
    maxStreamBuffer: 1_000_000,
    replyMemory: new ReplyMemory(Infinity, events),
    requestMemory: new RequestMemory(Infinity),
    maxRequestsPerSession: 1_000,
    keepAlive: QUIET_MS,
    headless: queue(),
    quiet: queue(),
    unanswered: queue(),
    pings: undefined,
    refusedAnswers: undefined,
    ...changed,
  };
}

const nothing = (): void => undefined;

/** The session of a transport, which allows everything. Its fields may be changed. */
export const transportOwner = (): { -readonly [K in keyof TransportOwner]: TransportOwner[K] } => ({
  principal: undefined,
  mayNotRespond: false,
  pastGracePeriod: false,
  answersRefused: false,
  answerRefused: nothing,
  acquire: () => ({ release: nothing }),
  streamOpened: nothing,
  streamClosed: nothing,
  streamLost: nothing,
  transportClosed: nothing,
  fenced: nothing,
  reserve: () => true,
  free: nothing,
  requestSucceeded: () => undefined,
});
