import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore } from '../../src/index.js';

/** An event store in memory with some methods of the test. */
export function storeWith(own: (inner: Required<EventStore>) => Partial<EventStore>): EventStore {
  const inner = memoryEventStore();
  return {
    storeEvent: (streamId, message) => inner.storeEvent(streamId, message),
    getStreamIdForEventId: (eventId) => inner.getStreamIdForEventId(eventId),
    replayEventsAfter: (lastEventId, to) => inner.replayEventsAfter(lastEventId, to),
    ...own(inner),
  };
}

export const notification = (text: string): JSONRPCMessage => ({
  jsonrpc: '2.0',
  method: 'notifications/message',
  params: { text },
});

/** An event as a store gave it out. */
interface Replayed {
  readonly id: string;
  readonly message: JSONRPCMessage;
}

export async function replay(
  store: EventStore,
  lastEventId: string,
): Promise<{ streamId: string; events: Replayed[] }> {
  const events: Replayed[] = [];
  const streamId = await store.replayEventsAfter(lastEventId, {
    send: async (id, message) => {
      events.push({ id, message });
    },
  });
  return { streamId, events };
}
