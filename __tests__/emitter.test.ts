import { Emitter } from '../src/runtime/emitter.js';

interface Events {
  one: [value: number];
  other: [];
}

function emitter() {
  const failures: unknown[] = [];
  const heard: unknown[] = [];
  const events = new Emitter<Events>((name, error) => failures.push([name, error]));
  return { events, failures, heard };
}

test('each listener of an event gets its arguments, in the order of subscription', () => {
  const { events, heard } = emitter();
  events.on('one', (value) => heard.push(['first', value])).on('one', (value) => heard.push(['second', value]));
  events.emit('one', 1);
  events.emit('other');
  expect(heard).toEqual([
    ['first', 1],
    ['second', 1],
  ]);
});

test('a listener that was removed is not called, and may be added again', () => {
  const { events, heard } = emitter();
  const listener = (value: number) => heard.push(value);
  events.on('one', listener).off('one', listener).off('one', listener);
  events.emit('one', 1);
  events.on('one', listener);
  events.emit('one', 2);
  expect(heard).toEqual([2]);
});

test('`once` hears one event, also when an earlier listener emits the same event again', () => {
  const { events, heard } = emitter();
  events.on('one', (value) => value < 3 && events.emit('one', value + 1));
  events.once('one', (value) => heard.push(value));
  events.emit('one', 1);
  events.emit('one', 3);
  expect(heard).toEqual([3]);
});

test('an error and a rejection of a listener are reported with the name of the event, and the next listener is called', async () => {
  const { events, failures, heard } = emitter();
  const [thrown, rejected] = [new Error('thrown'), new Error('rejected')];
  events
    .on('one', () => {
      throw thrown;
    })
    .on('one', () => Promise.reject(rejected))
    .on('one', () => Promise.resolve())
    .on('one', (value) => heard.push(value));
  events.emit('one', 1);
  expect(heard).toEqual([1]);
  await new Promise(setImmediate);
  expect(failures).toEqual([
    ['one', thrown],
    ['one', rejected],
  ]);
});
