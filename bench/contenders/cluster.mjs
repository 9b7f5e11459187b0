import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child } from '../run/child.mjs';

const NODES = 3;
const NODE = new URL('./cluster-node.mjs', import.meta.url);
const CACHE = new URL('../.cache/', import.meta.url);

/**
 * This package on three nodes, each a process of its own, with a Redis and a balancer that are real. All of them end with this
 * process, however it ends.
 */
export async function start({ balancer, ...settings }) {
  // Where the tests, too, look for the packages that they have unpacked.
  process.chdir(fileURLToPath(new URL('../../', import.meta.url)));
  const { RedisServer } = await import(new URL('support/redis-server.mjs', CACHE));
  const { HaProxy } = await import(new URL('support/haproxy.mjs', CACHE));

  const { url: redisUrl } = await RedisServer.start();
  const nodes = Array.from({ length: NODES }, (_, index) => nodeProcess(index, { redisUrl, settings }));
  await Promise.all(nodes.map((node) => node.ready()));
  const urls = await Promise.all(nodes.map((node) => node.ask('url')));
  await Promise.all(urls.map(untilMember));

  return {
    url: balancer === undefined ? urls[0] : await balancedUrl(HaProxy, urls, balancer),
    nodes: urls,
    cpu: async () => {
      const times = await Promise.all(nodes.map((node) => node.ask('cpu')));
      return times.reduce((sum, time) => sum + time, 0);
    },
    redisCommands: () => nodes[0].ask('redisCommands'),
  };
}

function nodeProcess(index, init) {
  const name = `cluster-node-${index}`;
  return new Child(NODE, {
    args: [JSON.stringify(init)],
    // As this process, but for the file of a profile.
    execArgv: process.execArgv.map((arg) => arg.replace('.cpuprofile', `.${name}.cpuprofile`)),
    log: fileURLToPath(new URL(`${name}.log`, CACHE)),
  });
}

/** A node listens before it has joined the others. */
async function untilMember(url) {
  while ((await fetch(new URL('/ready', url))).status !== 200) await delay(10);
}

/** Connections to the nodes are kept: one for each request would cost either routing as much as the call, and hide the difference. */
async function balancedUrl(HaProxy, urls, { sticky }) {
  const ports = urls.map((url) => Number(new URL(url).port));
  const { port } = await HaProxy.start(ports, { sticky, keepAlive: true });
  return `http://127.0.0.1:${port}/mcp`;
}
