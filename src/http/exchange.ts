import type { ServerResponse } from 'node:http';
import { SUPPORTED_PROTOCOL_VERSIONS, type MessageExtraInfo, type RequestId } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import type { Caller } from '../sessions/life/open.js';
import { shortId } from '../sessions/session-ids.js';
import type { McpRequest } from './mcp-request.js';
import { lazyRequest, RequestInfo, requestFactsOf } from './request-info.js';

/** Facts about a request that its log line shows: the short ID of its session, and its RPC method. */
export interface LogFacts {
  session?: string;
  method?: string;
}

/** `locals` is where Express keeps what concerns one request. It is made for the responses of other servers. */
type ResponseWithLocals = ServerResponse & { locals?: { mcp?: LogFacts } };

/** One HTTP request with its reply, on its way through the router. */
export class Exchange {
  /** The ID that an error is answered with; null until one was read. */
  id: RequestId | null = null;

  constructor(
    readonly req: McpRequest,
    readonly res: ServerResponse,
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
    const facts = requestFactsOf(this.req);
    // `requestInfo` is for servers of the SDK's version 1, `request` for those of version 2.
    const extra = { requestInfo: new RequestInfo(facts), request: lazyRequest(facts) };
    return auth === undefined ? extra : { ...extra, authInfo: auth };
  }

  /** Who asks, as sessions see it. */
  get caller(): Caller {
    const { req, principal, extra } = this;
    return { principal, extra, req: { headers: req.headers, auth: req.auth } };
  }

  /** Keeps a fact in `res.locals.mcp`, where the request log and the app's own one find it. */
  note(fact: { session: string } | { method: string }): void {
    const facts: LogFacts = 'session' in fact ? { session: shortId(fact.session) } : fact;
    try {
      const locals = ((this.res as ResponseWithLocals).locals ??= {});
      Object.assign((locals.mcp ??= {}), facts);
    } catch {
      // Other middleware set `locals` to `true`, froze or removed it. The log line then lacks these facts.
    }
  }

  #header(name: string): string | undefined {
    const value = this.req.headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }
}

/** Other middleware may have put anything there. */
export function logFactsOf(res: ServerResponse): Partial<Record<keyof LogFacts, unknown>> {
  return (res as ResponseWithLocals).locals?.mcp ?? {};
}
