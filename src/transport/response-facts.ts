import type { ServerResponse } from 'node:http';
import type { RepliedError } from '../errors.js';

/** Facts about a request that its log line shows: the short ID of its session, and its RPC method. */
export interface LogFacts {
  session?: string;
  method?: string;
  /** The name of the error in its reply. */
  error?: string;
}

const ERROR = Symbol('the error in the reply');
const ON_ERROR = Symbol('the listener for that error');

/** Express keeps data of one request in `locals`. For responses of other servers, the router adds it. */
type NotedResponse = ServerResponse & {
  locals?: { mcp?: LogFacts };
  [ERROR]?: RepliedError;
  [ON_ERROR]?: (error: RepliedError) => void;
};

/** Puts facts into `res.locals.mcp` for the request log, and for the app's own log. */
export function noteFacts(res: ServerResponse, facts: LogFacts): void {
  try {
    const locals = ((res as NotedResponse).locals ??= {});
    Object.assign((locals.mcp ??= {}), facts);
  } catch {
    // Other middleware set `locals` to `true`, froze or removed it. The log line then lacks these facts.
  }
}

/** The facts in `res.locals.mcp`. Other middleware may have put values of any type there. */
export function logFactsOf(res: ServerResponse): Partial<Record<keyof LogFacts, unknown>> {
  return (res as NotedResponse).locals?.mcp ?? {};
}

/** Notes the error of the table that a reply has, for metrics and logs. A later error replaces an earlier one. */
export function noteError(res: ServerResponse, error: RepliedError): void {
  const noted = res as NotedResponse;
  // Not only in `locals`, as other middleware may change that.
  noted[ERROR] = error;
  noted[ON_ERROR]?.(error);
  noteFacts(res, { error });
}

/** The error that was noted. Undefined if there is none. */
export function errorOf(res: ServerResponse): RepliedError | undefined {
  return (res as NotedResponse)[ERROR];
}

/** Calls a function for each error that is noted from now on. */
export function watchError(res: ServerResponse, listener: (error: RepliedError) => void): void {
  (res as NotedResponse)[ON_ERROR] = listener;
}
