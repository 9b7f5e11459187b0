import type { CoreEvents } from '../events.js';
import type { ResolvedOptions } from '../options/options.js';
import type { Instrumentation } from '../options/telemetry.js';
import { DeadlineQueue } from '../runtime/deadline-queue.js';
import type { Emitter } from '../runtime/emitter.js';
import { MemoryEvents } from '../stores/memory-event-store.js';
import { ReplyMemory } from './reply-memory.js';
import { RequestMemory } from './request-memory.js';
import type { TransportContext } from './transport-types.js';

/** Bounds of the answers that the event store refused, in bytes. The bound of their age is the default of a memory store. */
const REFUSED_ANSWERS = { maxBytes: 32 * 1024 * 1024, maxBytesPerSession: 4 * 1024 * 1024 };
/** Bytes that requests in flight may always take together: some thousands of small ones. */
const LEAST_REQUEST_MEMORY = 16 * 1024 * 1024;
/** How long an SSE reply may wait for its first event before its head is sent, in ms. */
const HEAD_AFTER = 1_000;

/** Makes the parts that all transports of a router share. */
export function createTransportContext(
  options: ResolvedOptions,
  events: Emitter<CoreEvents>,
  telemetry: Instrumentation | undefined,
): TransportContext {
  const { clock, pingInterval, eventStore } = options;
  return {
    era: 'session',
    clock,
    events,
    telemetry,
    enableJsonResponse: options.enableJsonResponse,
    keepAlive: options.keepAlive,
    retryInterval: options.retryInterval,
    maxStreamBuffer: options.maxStreamBuffer,
    replyMemory: new ReplyMemory(options.maxReplyMemory, events),
    requestMemory: new RequestMemory(Math.max(options.maxBodyMemory, LEAST_REQUEST_MEMORY)),
    maxRequestsPerSession: options.maxRequestsPerSession,
    refusedAnswers: eventStore && new MemoryEvents({ clock, ...REFUSED_ANSWERS }),
    headless: new DeadlineQueue(clock, Math.min(HEAD_AFTER, options.keepAlive), (reply) => reply.sendHead()),
    quiet: new DeadlineQueue(clock, options.keepAlive, (reply) => reply.keepAlive()),
    unanswered: new DeadlineQueue(clock, options.requestTimeout, (request) => request.timeOut()),
    pings: pingInterval === undefined ? undefined : new DeadlineQueue(clock, pingInterval, (stream) => stream.ping()),
  };
}
