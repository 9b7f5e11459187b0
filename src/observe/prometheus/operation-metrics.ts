import { Histogram } from 'prom-client';
import { ERRORS, MCP_CODES } from '../../errors.js';
import { OUTCOMES, type CoreEvents, type ErrorType, type ObservedRequest, type Outcome } from '../../events.js';
import type { Era } from '../../options/options.js';
import type { Emitter } from '../../runtime/emitter.js';
import { DURATION_BUCKETS } from '../duration-buckets.js';
import { each, type SharedMetrics } from './shared-metrics.js';

/** The requests of a client in MCP 2025-11-25 (`ClientRequest` of its schema). They include those of all earlier versions. */
const SESSION_METHODS = [
  'completion/complete',
  'initialize',
  'logging/setLevel',
  'ping',
  'prompts/get',
  'prompts/list',
  'resources/list',
  'resources/read',
  'resources/subscribe',
  'resources/templates/list',
  'resources/unsubscribe',
  'tasks/cancel',
  'tasks/get',
  'tasks/list',
  'tasks/result',
  'tools/call',
  'tools/list',
] as const;
/** The same in MCP 2026-07-28, without `subscriptions/listen`, which is counted as a stream. */
const PER_REQUEST_METHODS = [
  'completion/complete',
  'prompts/get',
  'prompts/list',
  'resources/list',
  'resources/read',
  'resources/templates/list',
  'server/discover',
  'tools/call',
  'tools/list',
] as const;
const OTHER = 'other';
const METHODS = new Map<Era, readonly string[]>([
  ['session', [...SESSION_METHODS, OTHER]],
  ['request', [...PER_REQUEST_METHODS, OTHER]],
]);

const ERROR_TYPES: ReadonlySet<ErrorType> = new Set<ErrorType>(['tool_error', ...MCP_CODES]);

/** The error type with which a call of a tool ends most often, for each outcome. Such series exist with 0. */
const USUAL_ERRORS: Readonly<Record<Outcome, ErrorType | undefined>> = {
  ok: undefined,
  error: 'tool_error',
  cancelled: undefined,
  timeout: ERRORS.requestTimedOut.code,
  closed: ERRORS.sessionClosed.code,
};

/**
 * Times requests from their arrival until they are settled.
 *
 * @param tools - Whether calls of a tool have its name.
 */
export function timeOperations(
  events: Emitter<CoreEvents>,
  metrics: SharedMetrics,
  eras: readonly Era[],
  tools: boolean,
): void {
  const children = metrics.share(
    Histogram,
    {
      name: 'mcp_server_operation_duration_seconds',
      help: 'Time from the arrival of an MCP request until it was settled.',
      labelNames: ['mcp_method_name', 'era', 'outcome', 'error_type', 'gen_ai_tool_name'],
      buckets: DURATION_BUCKETS,
    },
    (histogram, isNew) => new OperationChildren(histogram, eras, isNew),
  );
  const toolNames = tools ? new ToolNames() : undefined;
  events.on('requestSettled', (request, outcome, durationMs) => {
    children.observe(request, outcome, toolNames?.labelOf(request.tool, outcome), durationMs / 1000);
  });
}

const MOST_TOOLS = 200;

/** Characters. MCP 2025-11-25, server/tools, "Tool Names". */
const LONGEST_TOOL_NAME = 128;

const OTHER_TOOL = 'other';

/**
 * The tools that calls are counted by. A client can call a tool under any name. So a name counts only after a call of it has
 * succeeded, and all names together are bounded.
 */
class ToolNames {
  readonly #known = new Set<string>();

  /**
   * The label of a request that is settled. Undefined if it calls no tool.
   *
   * @param name - The tool that it calls.
   */
  labelOf(name: string | undefined, outcome: Outcome): string | undefined {
    if (name === undefined) return undefined;
    if (this.#known.has(name)) return name;
    if (outcome !== 'ok' || this.#known.size >= MOST_TOOLS || name.length > LONGEST_TOOL_NAME) return OTHER_TOOL;
    this.#known.add(name);
    return name;
  }
}

type Child = Histogram.Internal<string>;
type Labels = Readonly<Record<string, string>>;

/** The children of one method. */
interface MethodChildren {
  readonly labels: Labels;
  /** Those without an error type and without a tool: most requests have neither. */
  readonly plain: Readonly<Record<Outcome, Child>>;
  readonly others: Map<string, Child>;
}

/** The children of the histogram. Each is made once, as this runs for every request. */
class OperationChildren {
  readonly #histogram: Histogram;
  /** In a Map by method, as the client sends its name. */
  readonly #byEra: ReadonlyMap<Era, ReadonlyMap<string, MethodChildren>>;

  /** @param isNew - In a shared metric nothing is set to 0, as `zero` would reset the observations of the other router. */
  constructor(histogram: Histogram, eras: readonly Era[], isNew: boolean) {
    this.#histogram = histogram;
    this.#byEra = new Map(eras.map((era) => [era, this.#byMethod(era, isNew)]));
  }

  /** @param tool - The label of the tool. Undefined when the metric has no tool names. */
  observe(
    { method, era = 'session', errorType }: ObservedRequest,
    outcome: Outcome,
    tool: string | undefined,
    seconds: number,
  ): void {
    const byMethod = this.#byEra.get(era);
    const children = byMethod?.get(method) ?? byMethod?.get(OTHER);
    if (children === undefined) return;
    const isPlain = errorType === undefined && tool === undefined;
    const child = isPlain ? children.plain[outcome] : this.#other(children, outcome, errorType, tool);
    child.observe(seconds);
  }

  #other(
    { labels, others }: MethodChildren,
    outcome: Outcome,
    errorType: ErrorType | undefined,
    tool: string | undefined,
  ): Child {
    const error = errorType === undefined || ERROR_TYPES.has(errorType) ? errorType : OTHER;
    const key = `${outcome} ${error} ${tool}`;
    let child = others.get(key);
    if (child === undefined) {
      child = this.#histogram.labels({
        ...labels,
        outcome,
        ...errorLabel(error),
        ...(tool !== undefined && { gen_ai_tool_name: tool }),
      });
      others.set(key, child);
    }
    return child;
  }

  #byMethod(era: Era, isNew: boolean): ReadonlyMap<string, MethodChildren> {
    const methods = METHODS.get(era) ?? [];
    return new Map(
      methods.map((method) => {
        const labels = { mcp_method_name: method, era };
        // Each label value exists with 0, but not each combination: most of those series would always stay empty.
        if (isNew) {
          for (const outcome of method === 'tools/call' ? OUTCOMES : (['ok'] as const)) {
            this.#histogram.zero({ ...labels, outcome, ...errorLabel(USUAL_ERRORS[outcome]) });
          }
        }
        const plain = each(OUTCOMES, (outcome) => this.#histogram.labels({ ...labels, outcome }));
        return [method, { labels, plain, others: new Map<string, Child>() }];
      }),
    );
  }
}

/** Without an error there is no label, so that those series are the same as in earlier versions. */
function errorLabel(error: ErrorType | typeof OTHER | undefined): Labels {
  return error === undefined ? {} : { error_type: String(error) };
}
