// The process of one contender. It needs --expose-gc, to measure memory after a collection.
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { answerParent, endWithParent } from '../run/answering.mjs';
import { cpuMs } from '../run/cpu.mjs';
import { Profiler } from './profiler.mjs';

endWithParent();
const { module, options } = JSON.parse(process.argv[2]);
const { start } = await import(`../contenders/${module}.mjs`);
/** @type {import('../contenders/list.mjs').Running} */
const running = await start(options);
const profiler = new Profiler();

answerParent({
  url: () => running.url,
  cpu: () => running.cpu?.() ?? cpuMs(),
  collect: () => {
    globalThis.gc();
  },
  /** Memory in use after garbage collection. Finalizers and weak references need more than one collection. */
  memory: async (settleMs) => {
    for (let i = 0; i < 5; i++) {
      globalThis.gc();
      await delay(settleMs / 5);
    }
    const { heapUsed, rss } = process.memoryUsage();
    return { heapUsed, rss };
  },
  notify: async ({ from, count }) => {
    for (let number = from; number < from + count; number++) {
      await running.notify(number);
      await turn();
    }
  },
  announce: async (count) => {
    for (let number = 0; number < count; number++) {
      await running.announce();
      await turn();
    }
  },
  notifyTimed: ({ from, count }) => running.notifyTimed(from, count),
  hold: (count) => running.hold(count),
  call: (order) => running.call(order),
  hibernate: () => running.hibernate(),
  build: (count) => running.build(count),
  nodes: () => running.nodes,
  startProfile: () => profiler.start(),
  stopProfile: () => profiler.stop(),
  redisCommands: () => running.redisCommands(),
});
