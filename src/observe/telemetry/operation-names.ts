import type { Attributes } from '@opentelemetry/api';
import { bounded, operationAttributes, OTHER, type Target } from './attributes.js';

const MOST_METHODS = 50;
const MOST_TARGETS = 200;

/** The well-known values of `mcp.method.name` (semantic-conventions-genai, model/mcp/registry.yaml). */
const METHODS: readonly string[] = [
  'completion/complete',
  'elicitation/create',
  'initialize',
  'logging/setLevel',
  'notifications/cancelled',
  'notifications/initialized',
  'notifications/message',
  'notifications/progress',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
  'notifications/roots/list_changed',
  'notifications/subscriptions/acknowledged',
  'notifications/tools/list_changed',
  'ping',
  'prompts/get',
  'prompts/list',
  'resources/list',
  'resources/read',
  'resources/subscribe',
  'resources/templates/list',
  'resources/unsubscribe',
  'roots/list',
  'sampling/createMessage',
  'server/discover',
  'subscriptions/listen',
  'tools/call',
  'tools/list',
];

/**
 * The names of spans and the values of metrics. Clients choose the names of methods, tools and prompts, and each new one costs
 * memory in the process and in the backend. So the number of names is bounded.
 */
export class OperationNames {
  readonly #methods = new BoundedNames(MOST_METHODS, METHODS);
  readonly #targets = { tool: new BoundedNames(MOST_TARGETS), prompt: new BoundedNames(MOST_TARGETS) };

  spanName(method: string, target: Target | undefined): string {
    const first = this.#labelOf(method);
    return target !== undefined && this.#targets[target.kind].admits(target.name) ? `${first} ${target.name}` : first;
  }

  /** The attributes of a metric. */
  labels(method: string, target: Target | undefined): Attributes {
    const admitted = target === undefined || this.#targets[target.kind].admits(target.name);
    return operationAttributes(this.#labelOf(method), admitted ? target : { ...target, name: OTHER });
  }

  /** Called when a server has answered such an operation with a result. */
  served(method: string, target: Target | undefined): void {
    this.#methods.served(bounded(method));
    if (target !== undefined) this.#targets[target.kind].served(target.name);
  }

  #labelOf(method: string): string {
    const name = bounded(method);
    return this.#methods.admits(name) ? name : OTHER;
  }
}

/** The first names of one kind. One that a server has served takes the place of one that none has served. */
class BoundedNames {
  readonly #most: number;
  readonly #known: ReadonlySet<string>;
  readonly #served = new Set<string>();
  readonly #unproven = new Set<string>();

  /** @param known - Names that need no place. */
  constructor(most: number, known: readonly string[] = []) {
    this.#most = most;
    this.#known = new Set(known);
  }

  get #isFull(): boolean {
    return this.#served.size + this.#unproven.size >= this.#most;
  }

  /** Whether the name has a place. It gets one while there is one. */
  admits(name: string): boolean {
    if (this.#known.has(name) || this.#served.has(name) || this.#unproven.has(name)) return true;
    if (this.#isFull) return false;
    this.#unproven.add(name);
    return true;
  }

  served(name: string): void {
    if (this.#known.has(name) || this.#served.has(name) || this.#served.size >= this.#most) return;
    this.#unproven.delete(name);
    const [oldest] = this.#unproven;
    if (this.#isFull && oldest !== undefined) this.#unproven.delete(oldest);
    this.#served.add(name);
  }
}
