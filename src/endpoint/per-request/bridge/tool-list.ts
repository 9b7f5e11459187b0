import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import { paramHeadersOf, type ParamHeader } from '../../../http/per-request/param-headers.js';
import { isObject } from '../../../runtime/checks.js';
import type { Clock } from '../../../runtime/clock.js';
import type { Fields } from '../../../transport/jsonrpc.js';
import type { Answer } from '../../../transport/pending-requests.js';
import type { Asked, BridgeTransport } from './bridge-transport.js';

/** A server that lists tools for ever must not hold up a call. */
const MAX_PAGES = 100;
/** How long the absence of a tool from the list counts, in ms. With other rights, the same principal may see other tools. */
const ABSENCE_TTL = 1_000;

type Tools = ReadonlyMap<string, readonly ParamHeader[]>;

/** A page of the list that the server was asked for. */
interface Page {
  readonly asked: Asked;
  readonly tools: Promise<Tools>;
  /** Calls that wait for it. */
  waiting: number;
}

/** The parts of a call that reading the list needs. */
export interface ListingCall {
  /** Beside the cursor. */
  readonly params: Fields | undefined;
  readonly extra: MessageExtraInfo;
  /** Aborts when the call no longer waits. */
  readonly signal: AbortSignal;
}

/**
 * The mirrored parameters of a server's tools, as it lists them. Calls at the same time share one `tools/list`, which is cancelled
 * when the last of them has gone.
 */
export class ToolList {
  readonly #bridge: BridgeTransport;
  readonly #clock: Clock;
  #known = new Map<string, readonly ParamHeader[]>();
  #cursor: unknown;
  #pages = 0;
  #page: Page | undefined;
  /** When the end of the list was reached; undefined before. */
  #endedAt: number | undefined;

  constructor(bridge: BridgeTransport, clock: Clock) {
    this.#bridge = bridge;
    this.#clock = clock;
  }

  /** Drops the list, as the server's tools have changed. Calls that wait for a page still get it. */
  changed(): void {
    this.#known = new Map();
    this.#page = undefined;
    this.#beginAnew();
  }

  /** The mirrored parameters of a tool, none for a tool that is not listed. Undefined when the list must be read further. */
  known(name: string): readonly ParamHeader[] | undefined {
    const isWhole = this.#endedAt !== undefined && this.#clock.now() - this.#endedAt < ABSENCE_TTL;
    return this.#known.get(name) ?? (isWhole ? [] : undefined);
  }

  /** Takes the schema of a tool that the server told without a list. */
  learn(name: string, inputSchema: unknown): void {
    this.#known.set(name, paramHeadersOf(inputSchema));
  }

  /** The mirrored parameters of a tool; none where the server does not list it. The list is read until the page that has it. */
  async headersOf(name: string, call: ListingCall): Promise<readonly ParamHeader[]> {
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      const known = this.known(name);
      if (known !== undefined) return known;
      if (this.#endedAt !== undefined) this.#beginAnew();
      const found = (await this.#nextPage(call)).get(name);
      if (found !== undefined) return found;
    }
    return [];
  }

  #beginAnew(): void {
    this.#cursor = this.#endedAt = undefined;
    this.#pages = 0;
  }

  /** Rejects with the reason of the call's signal when it aborts: the server never answers what was cancelled. */
  async #nextPage(call: ListingCall): Promise<Tools> {
    const { signal } = call;
    signal.throwIfAborted();
    const page = (this.#page ??= this.#ask(call));
    page.waiting += 1;
    return new Promise<Tools>((resolve, reject) => {
      const leave = (): void => {
        reject(signal.reason as Error);
        page.waiting -= 1;
        if (page.waiting > 0) return;
        this.#bridge.cancel(page.asked.id, 'No call waits for the list');
        if (this.#page === page) this.#page = undefined;
      };
      signal.addEventListener('abort', leave);
      void page.tools.finally(() => signal.removeEventListener('abort', leave)).then(resolve, reject);
    });
  }

  #ask({ params, extra }: ListingCall): Page {
    const cursor = this.#cursor;
    const asked = this.#bridge.ask('tools/list', cursor === undefined ? params : { ...params, cursor }, extra);
    const page: Page = { asked, tools: asked.answer.then((answer) => this.#take(page, answer)), waiting: 0 };
    return page;
  }

  #take(page: Page, answer: Answer): Tools {
    // Since the server was asked for the page, its tools may have changed.
    const isOutdated = this.#page !== page;
    if (!isOutdated) this.#page = undefined;
    const { tools, nextCursor } = 'error' in answer ? {} : answer.result;
    const listed = new Map<string, readonly ParamHeader[]>();
    for (const tool of Array.isArray(tools) ? tools.filter(isObject) : []) {
      if (typeof tool.name === 'string') listed.set(tool.name, paramHeadersOf(tool.inputSchema));
    }
    if (isOutdated) return listed;
    for (const [name, headers] of listed) this.#known.set(name, headers);
    this.#cursor = nextCursor;
    this.#pages += 1;
    if (nextCursor === undefined || this.#pages === MAX_PAGES) this.#endedAt = this.#clock.now();
    return listed;
  }
}
