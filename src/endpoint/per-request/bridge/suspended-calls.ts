import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../runtime/clock.js';
import { Deadline, DeadlineQueue } from '../../../runtime/deadline-queue.js';
import { Shares, type ShareLimits } from '../shares.js';

/** Bounds of the calls that wait for an answer of their client. */
export interface SuspensionLimits {
  /** How long each may wait, in ms. */
  readonly suspendTtl: number;
  readonly maxSuspended: number;
  readonly maxSuspendedPerPrincipal: number;
  /** The share of all callers without a principal. */
  readonly maxSuspendedAnonymous: number;
  /** Bounds of the bytes that they take, an estimate. */
  readonly memory: ShareLimits;
}

const ID_BYTES = 16;
const STATE = /^(?:([\da-f-]{36})\.)?([\w-]{22})\.(\d{1,9})$/;

/**
 * The place of a call in the table, from its first suspension to its end.
 *
 * `requestState` is only the key of that place, and the number of the call's round. The principal, the request and the answers of
 * a retry are compared with those of the call. A client that alters the state makes its own request fail, which MCP 2026-07-28
 * allows (basic/patterns/mrtr).
 */
export class Suspension<Call> {
  readonly id = randomBytes(ID_BYTES).toString('base64url');
  readonly due = new Deadline<Suspension<Call>>(this);
  /** Bytes that it holds. */
  memory = 0;

  constructor(
    readonly call: Call,
    readonly principal: string | undefined,
    private readonly table: SuspendedCalls<Call>,
  ) {}

  /** The `requestState` of a round. */
  state(round: number): string {
    return `${this.table.prefix}${this.id}.${round}`;
  }

  /** Holds memory until the call ends. @returns False when there is too little for the principal. */
  hold(bytes: number): boolean {
    return this.table.hold(this, bytes);
  }

  /** The call waits from now on. */
  wait(): void {
    this.table.wait(this);
  }

  /** The call runs again. */
  resume(): void {
    this.due.cancel();
  }

  /** The call has ended. */
  end(): void {
    this.due.cancel();
    this.table.remove(this);
  }
}

/** The calls of an endpoint that have asked their client a question. */
export class SuspendedCalls<Call> {
  readonly #shares: Shares;
  readonly #memory: Shares;
  readonly #waiting: DeadlineQueue<Suspension<Call>>;
  readonly #byId = new Map<string, Suspension<Call>>();

  readonly #nodeId: (() => string) | undefined;

  /**
   * @param expire - Ends a call that waited for `suspendTtl`.
   * @param nodeId - The ID of this node in its cluster, which each state names. Undefined without a cluster.
   */
  constructor(limits: SuspensionLimits, clock: Clock, expire: (call: Call) => void, nodeId?: () => string) {
    this.#nodeId = nodeId;
    const { suspendTtl, maxSuspended, maxSuspendedPerPrincipal, maxSuspendedAnonymous, memory } = limits;
    const shares = { total: maxSuspended, perPrincipal: maxSuspendedPerPrincipal, anonymous: maxSuspendedAnonymous };
    this.#shares = new Shares(shares);
    this.#memory = new Shares(memory);
    this.#waiting = new DeadlineQueue(clock, suspendTtl, ({ call }) => expire(call));
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The part of a state that names this node. */
  get prefix(): string {
    return this.#nodeId === undefined ? '' : `${this.#nodeId()}.`;
  }

  /**
   * A place for a call; undefined when the table, or the share of the principal, is full.
   *
   * @param memory - Bytes that the call takes.
   */
  add(call: Call, principal: string | undefined, memory: number): Suspension<Call> | undefined {
    if (!this.#shares.take(principal)) return undefined;
    const suspension = new Suspension(call, principal, this);
    if (!this.hold(suspension, memory)) {
      this.#shares.give(principal);
      return undefined;
    }
    this.#byId.set(suspension.id, suspension);
    return suspension;
  }

  /** The call that a `requestState` names, and the round; undefined when it is not one of this principal's. */
  find(state: unknown, principal: string | undefined): { call: Call; round: number } | undefined {
    const [, , id, round] = (typeof state === 'string' ? STATE.exec(state) : undefined) ?? [];
    const suspension = id === undefined ? undefined : this.#byId.get(id);
    if (suspension === undefined || suspension.principal !== principal) return undefined;
    return { call: suspension.call, round: Number(round) };
  }

  hold(suspension: Suspension<Call>, bytes: number): boolean {
    if (!this.#memory.take(suspension.principal, bytes)) return false;
    suspension.memory += bytes;
    return true;
  }

  wait({ due }: Suspension<Call>): void {
    this.#waiting.add(due);
  }

  remove({ id, principal, memory }: Suspension<Call>): void {
    if (!this.#byId.delete(id)) return;
    this.#shares.give(principal);
    this.#memory.give(principal, memory);
  }
}

/** The node that a `requestState` names. Undefined where it names none, or is malformed. */
export function nodeOfState(state: unknown): string | undefined {
  return typeof state === 'string' ? STATE.exec(state)?.[1] : undefined;
}
