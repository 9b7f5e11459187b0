import type { ServerResponse } from 'node:http';
import type { RequestId } from '../protocol/messages.js';
import { SUPPORTED_PROTOCOL_VERSIONS } from '../protocol/session-era.js';
import type { MessageExtraInfo } from '../protocol/wire-transport.js';
import { Refusal } from '../errors.js';
import type { Caller } from '../sessions/life/open.js';
import { shortId } from '../sessions/session-ids.js';
import { noteFacts } from '../transport/response-facts.js';
import type { McpRequest } from './mcp-request.js';
import type { PostOperations } from './operations.js';
import { lazyRequest, RequestInfo, requestFactsOf } from './request-info.js';

/** One HTTP request with its reply. */
export class Exchange {
  /** The request ID for an error answer. Null until the body was read. */
  id: RequestId | null = null;
  /** The operations of a POST. Undefined without the option `telemetry`. */
  operations: PostOperations | undefined;
  #extra: MessageExtraInfo | undefined;

  constructor(
    readonly req: McpRequest,
    readonly res: ServerResponse,
    readonly principal: string | undefined,
    /** Whether another node of the cluster has forwarded it. */
    readonly forwarded = false,
  ) {}

  get sessionId(): string | undefined {
    return this.#header('mcp-session-id');
  }

  get lastEventId(): string | undefined {
    return this.#header('last-event-id');
  }

  /**
   * The protocol version that the client names in its header.
   *
   * @throws Refusal `unsupportedProtocolVersion` when the SDK does not support it.
   */
  checkedVersion(): string | undefined {
    const version = this.#header('mcp-protocol-version');
    if (version !== undefined && !SUPPORTED_PROTOCOL_VERSIONS.includes(version)) {
      throw new Refusal('unsupportedProtocolVersion');
    }
    return version;
  }

  /** The request of a message, for the handlers of the server. */
  get extra(): MessageExtraInfo {
    return (this.#extra ??= this.#makeExtra());
  }

  #makeExtra(): MessageExtraInfo {
    const { auth } = this.req;
    const facts = requestFactsOf(this.req);
    // `requestInfo` is for servers of the SDK's version 1, `request` for those of version 2.
    const extra = { requestInfo: new RequestInfo(facts), request: lazyRequest(facts) };
    return auth === undefined ? extra : { ...extra, authInfo: auth };
  }

  /** The caller, for sessions. */
  get caller(): Caller {
    const { req, principal, extra } = this;
    return { principal, extra, req: { headers: req.headers, auth: req.auth } };
  }

  /** Notes a fact for the request log, and for the app's own log. */
  note(fact: { session: string } | { method: string }): void {
    noteFacts(this.res, 'session' in fact ? { session: shortId(fact.session) } : fact);
  }

  #header(name: string): string | undefined {
    const value = this.req.headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }
}
