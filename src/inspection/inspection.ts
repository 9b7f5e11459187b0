import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { CoreEvents, SessionStats } from '../events.js';
import type { Clock } from '../runtime/clock.js';
import type { Emitter } from '../runtime/emitter.js';
import type { Registry } from '../sessions/registry.js';
import { LocalInspection } from './local-inspection.js';
import { Recorder } from './recorder.js';
import { compareRows } from './order.js';
import {
  RATES,
  type InspectAnswer,
  type InspectedNodes,
  type InspectRequest,
  type ListQuery,
  type NodeList,
  type Rates,
  type SessionDetail,
  type SessionRow,
} from './views.js';

/** A node, as operators see it. */
export interface NodeState {
  /** Undefined without a cluster. */
  readonly node: string | undefined;
  readonly stats: SessionStats | undefined;
  readonly rates: Rates | undefined;
  /** The reason why the node is missing in all sums. */
  readonly error: string | undefined;
}

/** A page of the sessions of all nodes. */
export interface SessionPage {
  readonly nodes: readonly NodeState[];
  readonly stats: SessionStats;
  readonly rates: Rates;
  readonly found: number;
  readonly rows: readonly SessionRow[];
}

interface Answer<A> {
  readonly node: string | undefined;
  readonly answer: A | undefined;
  readonly error: string | undefined;
}

export interface InspectionInit {
  readonly local: LocalInspection;
  readonly recorder: Pick<Recorder, 'isListening'>;
  /** Undefined without a cluster. */
  readonly cluster?: Pick<InspectedCluster, 'nodeId' | 'others'> | undefined;
  readonly clock: Clock;
  /** Logs a failure. The page shows the operator only a short text. */
  readonly report: (error: unknown) => void;
  /** The router's option. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** The router's check of Host, which logs what it refuses. */
  readonly isHostAllowed: (req: IncomingMessage) => boolean;
}

/** The sessions of all nodes, for operators. A node that does not answer is named instead. */
export class Inspection {
  readonly #local: LocalInspection;
  readonly #cluster: InspectionInit['cluster'];
  /** Listens only while an operator looks. */
  readonly recorder: InspectionInit['recorder'];
  readonly clock: Clock;
  readonly report: InspectionInit['report'];
  readonly allowedHosts: InspectionInit['allowedHosts'];
  readonly isHostAllowed: InspectionInit['isHostAllowed'];

  constructor({ local, recorder, cluster, clock, report, allowedHosts, isHostAllowed }: InspectionInit) {
    this.#local = local;
    this.#cluster = cluster;
    this.recorder = recorder;
    this.clock = clock;
    this.report = report;
    this.allowedHosts = allowedHosts;
    this.isHostAllowed = isHostAllowed;
  }

  /** The answer of this node to a request of another one. */
  answer(request: InspectRequest): InspectAnswer {
    return this.#local.answer(request);
  }

  async list(query: ListQuery): Promise<SessionPage> {
    const answers = await this.#ask<NodeList>({ kind: 'list', query });
    const lists = answers.flatMap(({ answer }) => (answer === undefined ? [] : [answer]));
    const rows = lists.flatMap((list) => list.rows).sort((a, b) => compareRows(query, a, b));
    return {
      nodes: answers.map(({ node, answer, error }) => ({ node, stats: answer?.stats, rates: answer?.rates, error })),
      stats: {
        initializing: sum(lists, ({ stats }) => stats.initializing),
        active: sum(lists, ({ stats }) => stats.active),
        orphaned: sum(lists, ({ stats }) => stats.orphaned),
        hibernated: sum(lists, ({ stats }) => stats.hibernated),
      },
      rates: Object.fromEntries(RATES.map((name) => [name, sum(lists, ({ rates }) => rates[name])])) as Rates,
      found: sum(lists, ({ found }) => found),
      rows: rows.slice(query.offset, query.offset + query.limit),
    };
  }

  /** One session with its timeline. Undefined when no node knows the key. */
  async detail(key: string): Promise<SessionDetail | undefined> {
    const answers = await this.#ask<SessionDetail | null>({ kind: 'detail', query: key });
    const details = answers.flatMap(({ answer }) => answer ?? []);
    // A node that has handed the session on may still have a timeline of it.
    return details.find(({ session }) => session !== undefined) ?? details[0];
  }

  /** The ID of a session. Undefined when no node has it. */
  async find(key: string): Promise<string | undefined> {
    const answers = await this.#ask<string | null>({ kind: 'find', query: key });
    return answers.flatMap(({ answer }) => answer ?? [])[0];
  }

  async #ask<A extends InspectAnswer>(request: InspectRequest): Promise<Answer<A>[]> {
    const here = { node: this.#cluster?.nodeId(), answer: this.#local.answer(request), error: undefined };
    const others = (await this.#cluster?.others.ask(request).catch(() => [UNREADABLE])) ?? [];
    return [here, ...others] as Answer<A>[];
  }
}

const UNREADABLE = { node: undefined, answer: undefined, error: 'The list of nodes cannot be read' };

const sum = <T>(all: readonly T[], valueOf: (each: T) => number): number =>
  all.reduce((total, each) => total + valueOf(each), 0);

/** The cluster of a router, as operators see it. */
export interface InspectedCluster {
  /** Shared by all nodes. */
  readonly secret: string;
  readonly nodeId: () => string;
  readonly others: InspectedNodes;
}

/** @param cluster - Undefined without a cluster. */
export function createInspection(
  registry: Registry,
  events: Emitter<CoreEvents>,
  cluster: InspectedCluster | undefined,
  allowedHosts: InspectionInit['allowedHosts'],
  isHostAllowed: InspectionInit['isHostAllowed'],
): Inspection {
  const { clock } = registry;
  const recorder = new Recorder(events, clock);
  const local = new LocalInspection(registry, recorder, cluster?.secret ?? randomBytes(32));
  const report = (error: unknown): void => events.emit('failure', 'the admin page', error);
  return new Inspection({ local, recorder, cluster, clock, report, allowedHosts, isHostAllowed });
}
