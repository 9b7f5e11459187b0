import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child } from '../run/child.mjs';

const NODES = 3;
const NODE = new URL('./cluster-node.mjs', import.meta.url);
const CACHE = new URL('../.cache/', import.meta.url);

/**
 * This package on three nodes, each in its own process, with a real Redis and a real balancer. All of them end with this
 * process, also when it crashes.
 */
export async function start({ balancer, ...settings }) {
  // The tests unpack their packages here too, so that both share one copy.
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
    notifyTimed: (from, count) => nodes[0].ask('notifyTimed', { from, count }, 600_000),
    redisCommands: () => nodes[0].ask('redisCommands'),
  };
}

function nodeProcess(index, init) {
  const name = `cluster-node-${index}`;
  return new Child(NODE, {
    args: [JSON.stringify(init)],
    // The same options as this process, except the file of a profile.
    execArgv: process.execArgv.map((arg) => arg.replace('.cpuprofile', `.${name}.cpuprofile`)),
    log: fileURLToPath(new URL(`${name}.log`, CACHE)),
  });
}

/** Waits until all nodes have joined: a node listens before that. */
async function untilMember(url) {
  while ((await fetch(new URL('/ready', url))).status !== 200) await delay(10);
}

/** Connections to the nodes are kept. New ones for each request would cost as much as a call, and hide the cost of routing. */
async function balancedUrl(HaProxy, urls, { sticky }) {
  const ports = urls.map((url) => Number(new URL(url).port));
  const { port } = await HaProxy.start(ports, { sticky, keepAlive: true });
  return `http://127.0.0.1:${port}/mcp`;
}
