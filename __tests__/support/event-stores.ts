import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { memoryEventStore } from '../../src/index.js';

/** An event store in memory, of which the test does some of the methods itself. */
export function storeWith(own: (inner: Required<EventStore>) => Partial<EventStore>): EventStore {
  const inner = memoryEventStore();
  return {
    storeEvent: (streamId, message) => inner.storeEvent(streamId, message),
    getStreamIdForEventId: (eventId) => inner.getStreamIdForEventId(eventId),
    replayEventsAfter: (lastEventId, to) => inner.replayEventsAfter(lastEventId, to),
    ...own(inner),
  };
}
