import type { ObservedRequest, Outcome } from '../../events.js';
import type { JSONRPCRequest } from '../../protocol/messages.js';

const MOST_NAMES = 200;

/** Characters. MCP 2025-11-25, server/tools, "Tool Names". */
const LONGEST_NAME = 128;

const OTHER_TOOL = 'other';

/**
 * The tools that calls are counted by. A client can call a tool under any name. So a name counts only after a call of it has
 * succeeded, and all names together are bounded.
 */
export class ToolNames {
  readonly #known = new Set<string>();
  /** The names in calls that are in flight. */
  readonly #called = new WeakMap<ObservedRequest, string>();

  /** Remembers which tool a request calls. */
  started(request: ObservedRequest, { method, params }: JSONRPCRequest): void {
    const name = params?.name;
    if (method === 'tools/call' && typeof name === 'string') this.#called.set(request, name);
  }

  /** The label of a request that is settled. Undefined if it calls no tool. */
  settled(request: ObservedRequest, outcome: Outcome): string | undefined {
    const name = this.#called.get(request);
    if (name === undefined) return undefined;
    if (this.#known.has(name)) return name;
    if (outcome !== 'ok' || this.#known.size >= MOST_NAMES || name.length > LONGEST_NAME) return OTHER_TOOL;
    this.#known.add(name);
    return name;
  }
}
