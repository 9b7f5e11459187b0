import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { ReplyMemory } from '../../src/transport/reply-memory.js';

/** A response in which as many bytes wait as the test sets. */
class WaitingResponse extends EventEmitter {
  readonly socket = {};
  readonly writableFinished = false;
  writableEnded = false;
  destroyed = false;

  constructor(
    private readonly memory: ReplyMemory,
    public writableLength: number,
  ) {
    super();
    this.hold();
  }

  hold(): void {
    this.memory.hold(this as unknown as ServerResponse, this);
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

let memory: ReplyMemory;
let failures: number;
beforeEach(() => {
  failures = 0;
  const events = new Emitter<CoreEvents>(() => undefined).on('failure', () => (failures += 1));
  memory = new ReplyMemory(100, events);
});
const waiting = (bytes: number): WaitingResponse => new WaitingResponse(memory, bytes);
const broken = (...replies: WaitingResponse[]): boolean[] => replies.map(({ destroyed }) => destroyed);

describe('replies that wait for their readers (docs/transport.md, "Back-pressure")', () => {
  test('stay while they fit, and past the limit the one that stopped first is broken off', () => {
    const [first, second] = [waiting(50), waiting(50)];
    expect(broken(first, second)).toEqual([false, false]);
    const third = waiting(1);
    expect(broken(first, second, third)).toEqual([true, false, false]);
    expect(failures).toBe(1);
  });

  test('are broken off one after the other until the others fit', () => {
    const replies = [waiting(30), waiting(30), waiting(30), waiting(90)];
    expect(broken(...replies)).toEqual([true, true, true, false]);
  });

  test('stay if the reader has read bytes since the last check', () => {
    const [reading, stalled] = [waiting(50), waiting(50)];
    reading.writableLength = 40;
    const third = waiting(50);
    expect(broken(reading, stalled, third)).toEqual([false, true, false]);
  });

  test('take no memory after they were read or closed', () => {
    const [read, closed, stalled] = [waiting(40), waiting(40), waiting(20)];
    read.writableLength = 0;
    read.emit('drain');
    closed.destroy();
    const other = waiting(80);
    expect(broken(read, stalled, other)).toEqual([false, false, false]);
    expect(read.eventNames()).toEqual([]);
  });

  test('count with the bytes that wait at the last write', () => {
    const growing = waiting(10);
    const other = waiting(10);
    growing.writableLength = 95;
    growing.hold();
    // It came first, and its reader has taken nothing.
    expect(broken(growing, other)).toEqual([true, false]);
  });

  test('may exceed the limit if there is no other reply', () => {
    expect(broken(waiting(1_000))).toEqual([false]);
    expect(failures).toBe(0);
  });
});

describe('bytes that wait outside of a response', () => {
  test('count beside those in it, and until the response is ended', () => {
    const first = waiting(0);
    memory.hold(first as unknown as ServerResponse, first, 60);
    const second = waiting(30);
    first.emit('drain');
    const third = waiting(30);
    expect(broken(first, second, third)).toEqual([false, true, false]);
    first.writableEnded = true;
    const fourth = waiting(60);
    expect(broken(first, third, fourth)).toEqual([false, false, false]);
  });
});
