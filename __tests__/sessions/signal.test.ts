import { getMaxListeners } from 'node:events';
import { Life } from '../../src/sessions/context.js';

test('the signal of a session has no limit of listeners, as every call may pass it on (Node: MaxListenersExceededWarning)', () => {
  const { signal } = new Life();
  expect(getMaxListeners(signal)).toBe(0);
});
