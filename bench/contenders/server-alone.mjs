import { setImmediate as endOfTurn } from 'node:timers/promises';
import { expect } from '../load/answers.mjs';
import { CALLS } from '../load/calls.mjs';
import { INITIALIZE, INITIALIZED } from '../load/messages.mjs';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { openServers } from './open-servers.mjs';

/** A minimal transport: its only state is the callback that waits for an answer. */
class NoTransport {
  onmessage;
  onclose;
  onerror;
  #answered;

  async start() {}

  async send(message) {
    this.#answered?.(message);
  }

  async close() {
    this.onclose?.();
  }

  async ask(message) {
    const answered = new Promise((resolve) => (this.#answered = resolve));
    this.onmessage(message);
    const answer = await answered;
    this.#answered = undefined;
    return answer;
  }
}

/** Calls `echo` through a transport, and checks the answer. */
async function callEcho(transport, id) {
  const { tool, input, text } = CALLS.echo;
  const label = `call ${id}`;
  const params = { name: tool, arguments: input(label) };
  const answer = await transport.ask({ jsonrpc: '2.0', id, method: 'tools/call', params });
  expect('the text', answer.result?.content[0].text, text(label));
}

/** The SDK's server without HTTP and a router: the cost of each session that all contenders share. */
export async function start(settings) {
  const servers = openServers(sdkFactory(settings));
  const transports = [];
  let turn = 0;

  /** Builds and initializes servers until there are `count`. */
  const hold = async (count) => {
    while (transports.length < count) {
      const transport = new NoTransport();
      await servers.create().connect(transport);
      await transport.ask({ ...INITIALIZE, id: 0 });
      transport.onmessage(INITIALIZED);
      transports.push(transport);
    }
  };

  /** Calls all servers in turn for `ms`, at most `concurrency` at once. Resolves to the number of calls. */
  const call = async ({ concurrency, ms }) => {
    const end = performance.now() + ms;
    let count = 0;
    do {
      const calls = Array.from({ length: concurrency }, () => {
        const id = (turn += 1);
        return callEcho(transports[id % transports.length], id);
      });
      await Promise.all(calls);
      await endOfTurn();
      count += calls.length;
    } while (performance.now() < end);
    return count;
  };
  return { hold, call };
}
