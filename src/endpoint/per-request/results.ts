import type { Result } from '../../protocol/messages.js';
import { CACHEABLE_METHODS, PER_REQUEST_VERSIONS, SERVER_INFO } from '../../protocol/per-request-era.js';
import type { CacheHint } from '../../options/resolve-per-request.js';
import { isObject } from '../../runtime/checks.js';
import { without, type Fields } from '../../transport/jsonrpc.js';

type Hint = Required<CacheHint>;

const UNCACHED: Hint = { ttlMs: 0, cacheScope: 'private' };

/** A server's description of itself: the result of `initialize`, or of `server/discover`. */
export type ServerFacts = Fields;

/** Adds the fields of MCP 2026-07-28 to results: their type, the server's name, and caching hints. */
export class Results {
  readonly #hints: ReadonlyMap<string, Hint>;

  /** @param hints - By method. Default of each: 0, `private`. */
  constructor(hints: ReadonlyMap<string, Hint>) {
    this.#hints = hints;
  }

  /** The complete result of a request. Its caching hints are the router's, as servers of the session era know none. */
  complete(method: string, result: Result, { serverInfo }: ServerFacts): Fields {
    const hint = CACHEABLE_METHODS.has(method) ? (this.#hints.get(method) ?? UNCACHED) : undefined;
    const fields = plain(result);
    return { ...fields, ...hint, resultType: 'complete', _meta: { ...fields._meta, [SERVER_INFO]: serverInfo } };
  }

  /** The result of `server/discover`. */
  discovery(facts: ServerFacts): Fields {
    const { capabilities, instructions } = facts;
    // The tasks of 2025-11-25 need a session.
    const result = {
      supportedVersions: PER_REQUEST_VERSIONS,
      capabilities: isObject(capabilities) ? without(capabilities, 'tasks') : {},
      ...(typeof instructions === 'string' && { instructions }),
    };
    return this.complete('server/discover', result, facts);
  }
}

/** The result as its own `toJSON` has it, which a copy of its fields would lose. */
function plain(result: Result): Result {
  const { toJSON } = result;
  return typeof toJSON === 'function' ? (JSON.parse(JSON.stringify(result)) as Result) : result;
}
