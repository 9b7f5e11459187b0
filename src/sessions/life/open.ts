import type { InitializeRequestParams } from '../../protocol/session-era.js';
import type { JSONRPCErrorResponse, JSONRPCRequest } from '../../protocol/messages.js';
import type { MessageExtraInfo } from '../../protocol/wire-transport.js';
import { wallTime } from '../../runtime/clock.js';
import { errorFor, Refusal } from '../../errors.js';
import type { ErrorType, ObservedRequest } from '../../events.js';
import type { OpeningRequest } from '../../options/options.js';
import { runIn, type Operations } from '../../options/telemetry.js';
import type { Answer } from '../../transport/pending-requests.js';
import type { TransportContext } from '../../transport/transport-types.js';
import type { FencedEventStore } from '../../stores/session-event-store.js';
import { HttpTransport } from '../../transport/transport.js';
import type { ServerBuilder } from '../server/server-builder.js';
import { FactoryContext } from '../server/server-context.js';
import type { SessionPersistence } from '../session-persistence.js';
import type { Registry } from '../registry.js';
import type { Session } from '../session.js';
import { AppState } from '../records/app-state.js';
import { recordJson } from '../records/record-json.js';

/**
 * Bounds of `initialize` params, which the session's server keeps in memory. By default `maxSessions` allows one session for
 * each 128 KiB of the heap. A small value takes up to 140 bytes of it.
 */
const MAX_INITIALIZE = { bytes: 16 * 1024, values: 256 };

/** The parts of the router that open a session. */
export interface SessionParts {
  readonly registry: Registry;
  readonly builder: ServerBuilder;
  readonly persistence: SessionPersistence;
  readonly transports: TransportContext;
  readonly eventStore: FencedEventStore | undefined;
  /** The key of a session's record in the Redis of the event store. Undefined when no other node can own the session. */
  readonly recordKey: ((id: string) => string) | undefined;
  readonly sessionIdGenerator: () => string;
}

/** The request for which a session is opened, restored, woken or adopted. */
export interface Caller {
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  readonly extra: MessageExtraInfo;
}

/** An `initialize` and its caller. */
export interface InitializeCall extends Caller {
  readonly message: JSONRPCRequest;
  readonly params: InitializeRequestParams;
  /** Whether an orphaned session of the same principal may be evicted for it. */
  readonly evicts: boolean;
  /** Undefined without telemetry. */
  readonly operations?: Operations | undefined;
  /** Calls the listener if the client disconnects. */
  onGone(listener: () => void): void;
}

/** The result of an `initialize`: a session with the server's answer, or only an answer that is an error. */
export type Opened =
  | { readonly session: Session; readonly transport: HttpTransport; readonly answer: Answer }
  | { readonly session: undefined; readonly answer: Answer };

/**
 * Opens a session. It is registered before the first `await`, so that concurrent requests for its ID await the same promise.
 * After a failure it is removed again.
 *
 * @throws Refusal `invalidInitialize` when the params are too large.
 * @throws Refusal `openTimeout` when opening takes longer than `openTimeout`; `storeUnavailable` when the store does not answer.
 * @throws The errors of {@link Registry.admit}, and those of `serverFactory` and `connect`.
 */
export async function openSession(parts: SessionParts, call: InitializeCall): Promise<Opened> {
  const { registry, persistence, transports } = parts;
  checkSize(call.params);
  const context = new FactoryContext({
    sessionId: parts.sessionIdGenerator(),
    principal: call.principal,
    req: call.req,
    clientInfo: call.params.clientInfo,
    clientCapabilities: call.params.capabilities,
    restored: false,
    epoch: 0,
    state: new AppState(),
  });
  const session = registry.admit(context);
  session.ownBy({ owner: persistence.records?.newOwner(), epoch: context.epoch });
  const party = { sessionId: session.id, principal: session.principal };
  const since = registry.clock.now();
  const request: ObservedRequest & { errorType?: ErrorType } = { id: call.message.id, method: 'initialize' };
  const settled = (outcome: 'ok' | 'error', errorType?: ErrorType): void => {
    if (errorType !== undefined) request.errorType = errorType;
    transports.events.emit('requestSettled', request, outcome, registry.clock.now() - since, party);
  };
  transports.events.emit('requestStarted', request, call.message, session.id);
  const operation = call.operations?.begin(call.message, { sessionId: session.id, protocolVersion: undefined });
  call.onGone(() => session.abandonOpening(() => new Refusal('sessionClosed')));

  const open = async (): Promise<Opened> => {
    try {
      const opened = await start(parts, session, context, async (transport) => {
        const answer = await transport.initialize(call.message, call.extra);
        if ('error' in answer) throw new Rejected(answer);
        session.agreeOnVersion(transport.protocolVersion);
        // The age in the record does not include the time that opening took.
        session.restartAge();
        const facts = firstFacts(
          session,
          transport.protocolVersion,
          call.params,
          context.state,
          wallTime(registry.clock),
        );
        await persistence.create(session, facts, call.evicts);
        return { session, transport, answer };
      });
      registry.activate(session);
      return opened;
    } catch (error) {
      registry.discard(session);
      void persistence.ended(session, 'failed');
      throw error;
    }
  };
  const opening = runIn(operation, open);
  session.lock(openingLock(opening, () => new Refusal('sessionNotFound')));
  try {
    const opened = await opening;
    operation?.end(opened.answer);
    settled('ok');
    return opened;
  } catch (error) {
    if (!(error instanceof Rejected)) {
      settled('error', errorFor(error).code);
      throw error;
    }
    const { answer } = error;
    operation?.end(answer);
    settled('error', answer.error.code);
    return { session: undefined, answer };
  }
}

/**
 * Begins an epoch of the session: builds a server and connects it.
 *
 * @param first - Sends the first requests to the server, before any client can.
 * @throws The errors of {@link ServerBuilder.build}. The server and the transport are closed then.
 */
export async function start<T>(
  { builder, eventStore, recordKey, transports }: SessionParts,
  session: Session,
  context: FactoryContext,
  first: (transport: HttpTransport) => Promise<T>,
): Promise<T> {
  const { id, owner, firstEpoch } = session;
  const { epoch } = context;
  const fence = recordKey && owner !== undefined ? { key: recordKey(id), owner, epoch } : undefined;
  const transport = new HttpTransport({
    context: transports,
    onDisconnect: 'continue',
    session: { id, owner: session, epoch, firstEpoch, eventStore, fence },
  });
  const abandoned = session.begin(context, transport);
  const { slot } = session;
  slot.retain();
  const settled = (): void => slot.release();
  const { server, result } = await builder.build(context, transport, abandoned, () => first(transport), settled);
  transport.opened();
  session.connect(server);
  return result;
}

/**
 * The promise that concurrent requests await while a session is opened.
 *
 * @param asError - The error that those requests get when opening fails.
 */
export function openingLock(opening: Promise<unknown>, asError: (error: unknown) => Error): Promise<void> {
  const lock = opening.then(
    () => undefined,
    (error: unknown) => {
      throw asError(error);
    },
  );
  // There may be no concurrent request. Without a handler, the rejection would end the process.
  lock.catch(() => undefined);
  return lock;
}

/** @throws Refusal `invalidInitialize` when the params are too large, or nested too deep, to be kept. */
function checkSize(params: InitializeRequestParams): void {
  const { bytes, values } = MAX_INITIALIZE;
  try {
    if (Buffer.byteLength(recordJson(params) ?? '') <= bytes && countValues(params) <= values) return;
  } catch (cause) {
    throw new Refusal('invalidInitialize', { cause });
  }
  throw new Refusal('invalidInitialize', {
    cause: new Error(`params of more than ${bytes} bytes or ${values} values`),
  });
}

/** Counts the value and all values inside it. It recurses, so the depth must have been checked before. */
function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce<number>((sum, inner) => sum + countValues(inner), 1);
}

function firstFacts(
  { id, principal }: Session,
  protocolVersion: string | undefined,
  params: InitializeRequestParams,
  state: AppState,
  openedAt: number,
) {
  // `_meta` belongs to the request, not to the session, and may contain anything.
  const initialize = { ...params, _meta: undefined };
  return {
    id,
    principal,
    initialize,
    protocolVersion: protocolVersion ?? initialize.protocolVersion,
    logLevel: undefined,
    subscriptions: [],
    state,
    openedAt,
  };
}

/** The server answered `initialize` with an error. The client gets that answer, and the session is not opened. */
class Rejected extends Error {
  constructor(readonly answer: JSONRPCErrorResponse) {
    super('The server rejected initialize');
  }
}
