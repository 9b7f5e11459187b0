import { Announcer } from '../../src/cluster/per-request/announcer.js';
import { FakeClock } from '../support/fake-clock.js';

// A program for `node --expose-gc`. Announces changes so fast that one always waits. Prints by how many bytes the heap grew with each
// message to the other nodes.

const INTERVALS = 20_000;

const clock = new FakeClock();
let sent = 0;
const announcer = new Announcer({
  tell: () => (sent += 1),
  clock,
  report: (what, error) => console.error(what, error),
});

function heap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

async function announce(intervals: number): Promise<void> {
  for (let n = 0; n < intervals; n += 1) {
    // Each waits while the message before it has its interval.
    announcer.announce('alice', { jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    clock.advance(100);
    await new Promise(setImmediate);
  }
}

await announce(INTERVALS);
const before = heap();
const sentBefore = sent;
await announce(INTERVALS);
console.log((heap() - before) / (sent - sentBefore));
