import type { SessionEventStore } from '../../src/stores/session-event-store.js';
import { notification } from './event-stores.js';

/** The tests that hold for every event store of the package. `open` returns an empty store with default bounds. */
export function eventStoreContract(open: () => Required<SessionEventStore>): void {
  test('an event ID of another store is unknown, even for a stream of the same name', async () => {
    const [one, two] = [open(), open()];
    const id = await one.storeEvent('a-1', notification('1'));
    await two.storeEvent('a-1', notification('2'));
    expect(await two.getStreamIdForEventId(id)).toBeUndefined();
  });

  test('a replay sends events that are stored meanwhile, as a transport may attach the stream only after it', async () => {
    const store = open();
    const first = await store.storeEvent('a-1', notification('1'));
    const second = await store.storeEvent('a-1', notification('2'));
    const sent: string[] = [];
    const later: string[] = [];
    await store.replayEventsAfter(first, {
      send: async (id) => {
        sent.push(id);
        if (later.length < 3) later.push(await store.storeEvent('a-1', notification('later')));
      },
    });
    expect(sent).toEqual([second, ...later]);
  });

  test('a replay stops when send rejects or throws, and rejects with the same error', async () => {
    const store = open();
    const first = await store.storeEvent('a-1', notification('1'));
    for (const text of ['2', '3', '4']) await store.storeEvent('a-1', notification(text));
    const reason = new Error('gone');
    for (const fail of [
      () => Promise.reject(reason),
      () => {
        throw reason;
      },
    ]) {
      const send = jest.fn<Promise<void>, []>().mockResolvedValueOnce(undefined).mockImplementation(fail);
      await expect(store.replayEventsAfter(first, { send })).rejects.toBe(reason);
      expect(send).toHaveBeenCalledTimes(2);
    }
  });

  test('a purge removes the events of its session and of no other, and the session may store new ones', async () => {
    const store = open();
    const streams = ['a-1', 'a-get', 'ab-1', 'b-a-1', 'A-1', '-a'];
    const ids = await Promise.all(streams.map((streamId) => store.storeEvent(streamId, notification('x'))));
    await store.purge('a');
    const known = await Promise.all(ids.map((id) => store.getStreamIdForEventId(id)));
    expect(known).toEqual([undefined, undefined, ...streams.slice(2)]);

    const young = await store.storeEvent('a-1', notification('y'));
    expect(await store.getStreamIdForEventId(ids[0]!)).toBeUndefined();
    expect(await store.getStreamIdForEventId(young)).toBe('a-1');
  });

  test('a purge of a session without events does nothing', async () => {
    expect(await open().purge('a')).toBeUndefined();
  });
}
