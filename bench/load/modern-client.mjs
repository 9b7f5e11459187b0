import { expect } from './answers.mjs';
import { Client, POST_HEADERS, start, withLength } from './client.mjs';
import { LIST_CHANGED, MODERN_META, MODERN_VERSION } from './messages.mjs';

const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId';

/** @param {import('./client.mjs').Target} target */
const modernHead = (target, method) =>
  `${start('POST', target)}${POST_HEADERS}MCP-Protocol-Version: ${MODERN_VERSION}\r\nMcp-Method: ${method}\r\n`;

/** A client of MCP 2026-07-28, which keeps no session: each request names its client. */
export class ModernClient extends Client {
  #target;
  #authorization;
  #subscription;
  #isAcknowledged = false;

  /**
   * @param {import('./client.mjs').Target} target
   * @param {string} tool The only tool that it calls.
   * @param {string} [authorization] A header line.
   */
  constructor(target, tool, authorization = '') {
    super(`${modernHead(target, 'tools/call')}Mcp-Name: ${tool}\r\n${authorization}`, MODERN_META);
    this.#target = target;
    this.#authorization = authorization;
  }

  /**
   * Opens a subscription to changes of the tools.
   *
   * @param {import('./connection.mjs').Connection} connection
   * @param {import('./body.mjs').Sink} onPiece
   */
  async listen(connection, onPiece) {
    const method = 'subscriptions/listen';
    this.#subscription = this.nextId();
    const params = { notifications: { toolsListChanged: true }, _meta: MODERN_META };
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.#subscription, method, params });
    const head = withLength(modernHead(this.#target, method) + this.#authorization, body);
    const { status } = await connection.stream(head + body, onPiece);
    expect(`status of ${method}`, status, 200);
  }

  /** Whether a message of the subscription announces a change. The first one must be the acknowledgement. */
  isChange({ method, params }) {
    expect('the subscription ID', params?._meta?.[SUBSCRIPTION_ID], this.#subscription);
    if (this.#isAcknowledged) return method === LIST_CHANGED;
    expect('the first message', method, 'notifications/subscriptions/acknowledged');
    expect('the filter that was agreed on', params.notifications?.toolsListChanged, true);
    this.#isAcknowledged = true;
    return false;
  }
}
