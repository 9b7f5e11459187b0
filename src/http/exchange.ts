import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import { SUPPORTED_PROTOCOL_VERSIONS, type MessageExtraInfo, type RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Request, Response } from 'express';
import { Refusal } from '../errors.js';
import type { Caller } from '../sessions/life/open.js';
import { shortId } from '../sessions/short-id.js';
import { lazyRequest, RequestInfo, requestFactsOf } from './request-info.js';

/** One HTTP request with its reply, on its way through the router. */
export class Exchange {
  /** The ID that an error is answered with; null until one was read. */
  id: RequestId | null = null;

  constructor(
    readonly req: Request & { auth?: AuthInfo },
    readonly res: Response,
    readonly principal: string | undefined,
    /** Whether another node of the cluster has handed it over. */
    readonly forwarded = false,
  ) {}

  get sessionId(): string | undefined {
    return this.#header('mcp-session-id');
  }

  get lastEventId(): string | undefined {
    return this.#header('last-event-id');
  }

  /**
   * The version that the client says it speaks.
   *
   * @throws Refusal when it is none that the SDK supports.
   */
  checkedVersion(): string | undefined {
    const version = this.#header('mcp-protocol-version');
    if (version !== undefined && !SUPPORTED_PROTOCOL_VERSIONS.includes(version)) {
      throw new Refusal('unsupportedProtocolVersion');
    }
    return version;
  }

  /** What a server's handlers are told of the request that a message came in. */
  get extra(): MessageExtraInfo {
    const { auth } = this.req;
    const told = requestFactsOf(this.req);
    // `requestInfo` is for servers of the SDK's version 1, `request` for those of version 2.
    const extra = { requestInfo: new RequestInfo(told), request: lazyRequest(told) };
    return auth === undefined ? extra : { ...extra, authInfo: auth };
  }

  /** Who asks, as sessions see it. */
  get caller(): Caller {
    const { req, principal, extra } = this;
    return { principal, extra, req: { headers: req.headers, auth: req.auth } };
  }

  /** Leaves a fact for whoever logs the request, where Express keeps such things. */
  note(fact: { session: string } | { method: string }): void {
    try {
      const facts = (this.res.locals.mcp ??= {}) as { session?: string; method?: string };
      if ('session' in fact) facts.session = shortId(fact.session);
      else facts.method = fact.method;
    } catch {
      // Other middleware set `locals` to `true`, froze or removed it. The log line then lacks this fact.
    }
  }

  #header(name: string): string | undefined {
    const value = this.req.headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }
}
