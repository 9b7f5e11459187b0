import type { ServerResponse } from 'node:http';

/** Facts about a request that its log line shows: the short ID of its session, and its RPC method. */
export interface LogFacts {
  session?: string;
  method?: string;
}

/** `locals` is where Express keeps what concerns one request. It is made for the responses of other servers. */
type ResponseWithLocals = ServerResponse & { locals?: { mcp?: LogFacts } };

/** Keeps facts in `res.locals.mcp`, where the request log and the app's own one find them. */
export function noteLogFacts(res: ServerResponse, facts: LogFacts): void {
  try {
    const locals = ((res as ResponseWithLocals).locals ??= {});
    Object.assign((locals.mcp ??= {}), facts);
  } catch {
    // Other middleware set `locals` to `true`, froze or removed it. The log line then lacks these facts.
  }
}

/** Other middleware may have put anything there. */
export function logFactsOf(res: ServerResponse): Partial<Record<keyof LogFacts, unknown>> {
  return (res as ResponseWithLocals).locals?.mcp ?? {};
}
