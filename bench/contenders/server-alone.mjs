import { INITIALIZE, INITIALIZED } from '../load/messages.mjs';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { openServers } from './open-servers.mjs';

/** A transport that holds nothing but the one callback that it waits with. */
class NoTransport {
  onmessage;
  onclose;
  onerror;
  #answered;

  async start() {}

  async send() {
    this.#answered?.();
  }

  async close() {
    this.onclose?.();
  }

  async initialize() {
    const answered = new Promise((resolve) => (this.#answered = resolve));
    this.onmessage({ ...INITIALIZE, id: 0 });
    await answered;
    this.#answered = undefined;
    this.onmessage(INITIALIZED);
  }
}

/** What the SDK's server takes for itself in each session, whoever holds it. */
export async function start(settings) {
  const servers = openServers(sdkFactory(settings));
  let held = 0;

  /** Builds and initializes servers until there are so many. */
  const hold = async (count) => {
    for (; held < count; held++) {
      const transport = new NoTransport();
      await servers.create().connect(transport);
      await transport.initialize();
    }
  };
  return { hold };
}
