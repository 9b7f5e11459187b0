import type { InitializeRequestParams, JSONRPCRequest, MessageExtraInfo } from '@modelcontextprotocol/sdk/types.js';
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { Refusal } from '../errors.js';
import type { OpeningRequest } from '../options.js';
import type { TransportContext } from '../transport/context.js';
import { HttpTransport } from '../transport/transport.js';
import type { ServerBuilder } from './build.js';
import { FactoryContext } from './context.js';
import type { Registry } from './registry.js';
import type { Session } from './session.js';

/** The parts that opening a session takes. */
export interface Opener {
  readonly registry: Registry;
  readonly builder: ServerBuilder;
  readonly transports: TransportContext;
  readonly eventStore: EventStore | undefined;
  readonly sessionIdGenerator: () => string;
}

/** An `initialize` and who sent it. */
export interface InitializeCall {
  readonly message: JSONRPCRequest;
  readonly params: InitializeRequestParams;
  readonly extra: MessageExtraInfo;
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  /** Has the listener called if the client hangs up. */
  onGone(listener: () => void): void;
}

/** What became of it: a session with the server's answer, or an answer that is an error, and no session. */
export interface Opened {
  readonly session: Session | undefined;
  readonly answer: unknown;
}

/**
 * Opens a session: its entry stands before anything is awaited, concurrent requests for its ID await the same promise, and
 * whatever fails, nothing of it remains.
 *
 * @throws Refusal at a cap or when it takes too long; whatever `serverFactory` or `connect` threw.
 */
export async function openSession(opener: Opener, call: InitializeCall): Promise<Opened> {
  const { registry, builder, transports, eventStore } = opener;
  const context = new FactoryContext({
    sessionId: opener.sessionIdGenerator(),
    principal: call.principal,
    req: call.req,
    clientInfo: call.params.clientInfo,
    clientCapabilities: call.params.capabilities,
    restored: false,
    epoch: 0,
  });
  const session = registry.admit(context);
  const transport = new HttpTransport({
    sessionId: session.id,
    epoch: context.epoch,
    eventStore,
    context: transports,
    owner: session,
  });
  session.transport = transport;
  const since = registry.clock.now();
  const settled = (outcome: 'ok' | 'error'): void =>
    transports.events.emit('settled', 'initialize', outcome, registry.clock.now() - since);
  const abandoned = new Promise<never>((_, reject) => (session.abandon = reject));
  call.onGone(() => session.abandon?.(new Refusal('sessionClosed')));
  try {
    const opening = builder.build(context, transport, abandoned, async () => {
      const answer = await transport.initialize(call.message, call.extra);
      if ('error' in answer) throw new Rejected(answer);
      return answer;
    });
    session.opening = opening;
    const { server, result } = await opening;
    session.server = server;
    registry.activate(session);
    settled('ok');
    return { session, answer: result };
  } catch (error) {
    registry.discard(session);
    settled('error');
    if (error instanceof Rejected) return { session: undefined, answer: error.answer };
    throw error;
  }
}

/** The server itself answered `initialize` with an error: the session is not to be, but the client gets that answer. */
class Rejected extends Error {
  constructor(readonly answer: unknown) {
    super('The server rejected initialize');
  }
}
