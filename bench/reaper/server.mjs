import { VERSION } from '../load/messages.mjs';
import { INFO } from '../tools/info.mjs';

/** A server that answers `initialize` and does nothing else: what is left is the router's own work. */
export class IdleServer {
  #transport;

  async connect(transport) {
    this.#transport = transport;
    transport.onmessage = ({ id, method }) => {
      if (method !== 'initialize') return;
      const result = { protocolVersion: VERSION, capabilities: {}, serverInfo: INFO };
      void transport.send({ jsonrpc: '2.0', id, result });
    };
    await transport.start();
  }

  async close() {
    await this.#transport.close();
  }
}
