import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { createLifecycle } from './lifecycle.js';
import { guardClock } from './runtime/clock.js';
import { ClusterNode } from './cluster/cluster-node.js';
import { LifecyclePhase } from './runtime/lifecycle-phase.js';
import { Refusal } from './errors.js';
import type { CoreEvents } from './events.js';
import { Emitter } from './runtime/emitter.js';
import { BodyReader } from './http/body.js';
import { createCors } from './http/cors.js';
import { Exchange } from './http/exchange.js';
import { createGuard, createHostCheck } from './http/guard.js';
import { clientRequest } from './http/mcp-request.js';
import { toExchange } from './endpoint/session/forwarded-request.js';
import { createIdentify } from './http/identity.js';
import { createQueueWatch } from './http/pipelining.js';
import { createReceive } from './http/receive.js';
import { createRefuse } from './http/answer.js';
import { createDispatch } from './endpoint/dispatch.js';
import type { Endpoint } from './endpoint/endpoint.js';
import { EraEndpoint } from './endpoint/era-endpoint.js';
import { PerRequestEndpoint } from './endpoint/per-request/per-request-endpoint.js';
import { SessionEndpoint } from './endpoint/session/session-endpoint.js';
import { UnservedSessions } from './endpoint/session/unserved-sessions.js';
import { StatelessEndpoint } from './endpoint/per-request/stateless-endpoint.js';
import { createHealth, createReady } from './observe/health.js';
import { createGuardedLogger } from './observe/logging/logger-guard.js';
import { createRequestLog, logSessions } from './observe/logging/logging.js';
import { createWorkerWarning } from './observe/worker-warning.js';
import { createMetrics } from './observe/prometheus/metrics.js';
import { storesOf } from './observe/prometheus/store-metrics.js';
import { createInspection, type Inspection } from './inspection/inspection.js';
import { instrument } from './observe/instrument.js';
import { LocalDelivery } from './notify/local-delivery.js';
import { createNotify, type Notify } from './notify/notify.js';
import type { HttpRequest, McpEndpointOptions, MountOptions, ResolvedOptions } from './options/options.js';
import { resolveOptions, warnOfShortTimes } from './options/resolve.js';
import { accessRule } from './sessions/access.js';
import { ServerBuilder } from './sessions/server/server-builder.js';
import { NotOwner, type UnownedSession } from './sessions/ownership.js';
import { SessionPersistence } from './sessions/session-persistence.js';
import type { SessionParts } from './sessions/life/open.js';
import { createPrincipalNames } from './sessions/principal-name.js';
import { PrincipalStates } from './sessions/records/principal-state.js';
import { RecordStore } from './sessions/records/record-store.js';
import { Registry } from './sessions/registry.js';
import { Reissuer } from './sessions/life/reissue.js';
import { Restorer } from './sessions/life/restore.js';
import { sessionIdCheck } from './sessions/session-ids.js';
import { Sessions } from './sessions/session-api.js';
import type { MemoryEvents } from './stores/memory-event-store.js';
import type { OnStoreAnswer } from './stores/timed-call.js';
import { createTransportContext } from './transport/transport-context.js';
import { completeHttp2 } from './transport/response.js';

/** Answers a request of `node:http`, `node:https`, or the compatibility API of `node:http2`. */
export type HttpHandler = (req: HttpRequest | Http2ServerRequest, res: ServerResponse | Http2ServerResponse) => void;

/** The result of {@link createMcpEndpoint}: the handler of the endpoint, and functions to observe and to stop it. */
export interface McpEndpoint {
  /**
   * Answers a request of an MCP client on any path, as the app routes requests. If other code has read the body, it is taken from
   * `req.body`. The caller is taken from `req.auth`. Never throws. The reply may end long after this returns.
   */
  readonly handle: HttpHandler;
  /**
   * Answers CORS preflights of `allowedOrigins`. Call it before the authentication, as browsers send no token with a preflight.
   * It also sets the CORS headers on every answer that follows, so that pages can read a refusal by the authentication. It
   * refuses a Host or Origin as `handle` does.
   *
   * @returns Whether it has answered the request.
   */
  readonly preflight: (...exchange: Parameters<HttpHandler>) => boolean;
  /** Prometheus text format; 404 with `metrics: false`. */
  readonly metrics: HttpHandler;
  /** 200 as long as the process answers. */
  readonly health: HttpHandler;
  /** 200 while new sessions are accepted, else 503. */
  readonly ready: HttpHandler;
  readonly sessions: Sessions;
  /** Tells clients something from outside a request. */
  readonly notify: Notify;
  /** @internal */
  readonly inspection: Inspection;
  /**
   * Refuses new sessions, lets requests finish for at most `timeoutMs`, ends standalone streams so that their clients reconnect
   * to another process, and closes. Idempotent. Resolves when all sessions are closed. That is a few seconds after `timeoutMs` at
   * the latest, even if a server, a store or Redis hangs. The process stays alive until then.
   *
   * Rejects with a TypeError, and stops nothing, when `timeoutMs` is not from 0 to 2,147,483,647. A longer timer of Node fires at
   * once.
   */
  drain(timeoutMs: number): Promise<void>;
  /**
   * Ends all sessions now: every reply ends, every handler's `signal` aborts. Idempotent. Resolves when all sessions are closed,
   * within seconds even if a server, a store or Redis hangs. The process stays alive until then.
   */
  close(): Promise<void>;
}

/**
 * Makes an endpoint that serves the Model Context Protocol over Streamable HTTP on plain `node:http`, with a server of its own
 * for each client's session.
 *
 * @throws TypeError when an option is unknown or of a wrong type, or when two options contradict each other.
 *
 * @example
 * ```ts
 * const mcp = createMcpEndpoint({ serverFactory: () => buildServer() });
 * createServer((req, res) => {
 *   if (req.url === '/mcp') mcp.handle(req, res);
 *   else res.writeHead(404).end();
 * }).listen(3000);
 * ```
 */
export function createMcpEndpoint(options: McpEndpointOptions): McpEndpoint {
  const { path, metrics = {} } = options as MountOptions;
  if (path !== undefined || (metrics !== false && metrics.route !== undefined)) {
    throw new TypeError(
      'createMcpEndpoint: options path and metrics.route are for mcpRouter; here the app routes requests',
    );
  }
  return assembleEndpoint(resolveOptions(options));
}

/** Creates and connects the parts of an endpoint. */
export function assembleEndpoint(checked: ResolvedOptions): McpEndpoint {
  const events = createEvents();
  const reportFailure = (what: string, error: unknown): void => events.emit('failure', what, error);
  const resolved = { ...checked, clock: guardClock(checked.clock, reportFailure) };
  const logger = createGuardedLogger(resolved, events);
  logSessions(events, logger, resolved.clock);
  const telemetry = resolved.telemetry && instrument(resolved.telemetry, events);
  const logRequest = createRequestLog(logger);
  const phase = new LifecyclePhase();
  const builder = new ServerBuilder(resolved.serverFactory, resolved.clock, resolved.openTimeout, reportFailure);
  const member =
    resolved.cluster && new ClusterNode(resolved.cluster, resolved, recordLifetime(resolved), phase, events);
  const records = member?.records ?? createRecords(resolved, events);
  const transports = createTransportContext(resolved, events, telemetry);
  const persistence = createPersistence(resolved, events, records, member, transports.refusedAnswers);
  const registry = new Registry(resolved, phase, events, builder, persistence, () => member?.membership);
  const perRequest =
    resolved.perRequest === false
      ? undefined
      : new PerRequestEndpoint(
          builder,
          transports,
          phase,
          resolved.perRequest,
          new PrincipalStates(records, resolved.clock),
          member?.nodes.perRequest,
        );
  const metrics =
    resolved.metrics === false
      ? undefined
      : createMetrics(events, registry, resolved.metrics, member, perRequest, storesOf(resolved));
  const parts: SessionParts = {
    registry,
    builder,
    persistence,
    transports,
    eventStore: resolved.eventStore,
    recordKey: member?.recordKey,
    sessionIdGenerator: resolved.sessionIdGenerator,
  };
  const isSessionId = sessionIdCheck(resolved.sessionIdGenerator !== randomUUID);
  const mayUse = accessRule(resolved.adoptAnonymous);
  const restorer = new Restorer(parts, events, isSessionId, mayUse, resolved.maxLifetime, member?.pauseRestoring);
  const reissuer =
    resolved.staleSessions === 'reissue' ? new Reissuer(parts, events, isSessionId, resolved.maxSessions) : undefined;
  const bodies = new BodyReader(resolved, phase);
  const createSessionEndpoint = (): Endpoint => {
    if (!resolved.sessions) return new UnservedSessions();
    if (resolved.stateless) return new StatelessEndpoint(builder, transports, phase);
    return new SessionEndpoint(parts, restorer, mayUse, reissuer, member, events, bodies.arriving);
  };
  const sessionEndpoint = createSessionEndpoint();
  const endpoint = perRequest === undefined ? sessionEndpoint : new EraEndpoint(sessionEndpoint, perRequest);
  const dispatch = createDispatch(endpoint, createReceive(bodies), member, telemetry);
  const lifecycle = createLifecycle(phase, bodies, endpoint, member, resolved);
  const warn = (message: string): void => logger.warn(message);
  const principalNames = createPrincipalNames(resolved.principal === undefined, warn);
  const destroy = (id: string, unowned?: UnownedSession): Promise<boolean> => restorer.destroy(id, unowned);
  const endPrincipal = async (principal: string): Promise<void> => perRequest?.endPrincipalEverywhere(principal);
  const sessions = new Sessions(registry, destroy, member, events, principalNames, endPrincipal);
  const delivery = new LocalDelivery(
    registry,
    (principal) => perRequest?.streams(principal) ?? [],
    resolved.clock,
    (error, id) => events.emit('failure', 'a notification', error, id),
  );
  const notify = createNotify(delivery, principalNames, member?.nodes.notified, resolved.maxBodySize);
  const isHostAllowed = createHostCheck(resolved.allowedHosts, warn, warn);
  const inspection = createInspection(registry, events, member?.nodes.inspected, resolved.allowedHosts, isHostAllowed);
  const refuse = createRefuse(events, resolved.resourceMetadataUrl);
  member?.start({
    registry,
    sessions,
    announced: (principal, notification) => perRequest?.announced(principal, notification),
    notified: (notices) => Promise.all(notices.map((notice) => delivery.deliver(notice))),
    inspection,
    endPrincipal: (principal) => perRequest?.endPrincipal(principal) === true,
    endStreams: () => void perRequest?.endStreams(),
    destroy,
    serve: async (request, body, req, res) => {
      const exchange = toExchange(request, body, req, res);
      await dispatch(exchange).catch((error: unknown) => {
        // The node that forwarded the request looks for the owner again.
        if (error instanceof NotOwner) throw error;
        refuse(exchange.res, error, exchange);
      });
    },
  });

  warnOfShortTimes(resolved, warn);
  const guard = createGuard(resolved.allowedOrigins, isHostAllowed, warn);
  const cors = createCors(resolved);
  const identify = createIdentify(resolved, warn);
  const warnOfWorkers = member === undefined ? createWorkerWarning(warn) : undefined;
  const watchQueue = createQueueWatch((error) => reportFailure('a listener of a response', error));

  let timersChecked = false;
  const observe = (req: HttpRequest, res: ServerResponse): void => {
    if (!timersChecked) warnOfFakeTimers();
    timersChecked = true;
    try {
      completeHttp2(req, res);
      watchQueue(req, res);
      logRequest(req, res);
      metrics?.countResponse(res);
    } catch (error) {
      reportFailure('a request could not be observed', error);
    }
  };

  /** Never rejects, as no caller awaits it. */
  const serve = async (req: HttpRequest, res: ServerResponse): Promise<void> => {
    observe(req, res);
    let exchange: Exchange | undefined;
    try {
      guard(req);
      if (cors(req, res)) return;
      const request = clientRequest(req);
      if (!endpoint.methods.includes(request.method)) {
        // RFC 9110, 15.5.6: the methods of this resource. A stateless one has fewer.
        res.setHeader('Allow', endpoint.methods.join(', '));
        throw new Refusal('methodNotAllowed');
      }
      exchange = new Exchange(request, res, identify(req));
      await dispatch(exchange);
    } catch (error) {
      try {
        warnOfWorkers?.(error);
        refuse(res, error, exchange);
      } catch {
        res.destroy();
      }
    }
  };

  const preflight = (req: HttpRequest, res: ServerResponse): boolean => {
    let answered = true;
    try {
      guard(req);
      answered = cors(req, res);
    } catch (error) {
      refuse(res, error, undefined);
    }
    if (answered) metrics?.countResponse(res);
    return answered;
  };

  const ready = createReady(() => {
    if (phase.isDraining) return 'draining';
    if (member?.membership.isValid === false) return 'joining';
    return registry.caps.full ? 'full' : 'ready';
  });
  // The types are those of HTTP/1. `completeHttp2` adds the missing parts to messages of HTTP/2.
  const handlers = {
    handle: (req, res) => void serve(req, res),
    preflight,
    metrics: (req, res) => (metrics === undefined ? void res.writeHead(404).end() : void metrics.handler(req, res)),
    health: createHealth(),
    ready,
  } satisfies Record<string, (req: HttpRequest, res: ServerResponse) => unknown>;

  return {
    ...(handlers as Pick<McpEndpoint, keyof typeof handlers>),
    sessions,
    notify,
    inspection,
    drain: lifecycle.drain,
    close: lifecycle.close,
  };
}

/** Fake timers mark the functions that they replace with a property `clock` (@sinonjs/fake-timers, as in Jest and vitest). */
function warnOfFakeTimers(): void {
  if (!('clock' in setImmediate)) return;
  process.emitWarning('mcpRouter: setImmediate is faked, and replies wait for it: leave it real (docs/testing.md)');
}

function createEvents(): Emitter<CoreEvents> {
  const events: Emitter<CoreEvents> = new Emitter((name, error) => {
    // The listener of `failure` writes the log, and that of `logLost` counts. After both threw, no way of reporting remains.
    if (name === 'failure') events.emit('logLost', 'threw');
    else if (name !== 'logLost') events.emit('failure', `a listener of ${name}`, error);
  });
  return events;
}

function createRecords(options: ResolvedOptions, events: Emitter<CoreEvents>): RecordStore | undefined {
  const { store, clock } = options;
  const owner = randomUUID();
  const onAnswer: OnStoreAnswer = (...answer) => events.emit('storeAnswered', 'session', ...answer);
  return store && new RecordStore({ store, clock, node: () => owner, lifetime: recordLifetime(options), onAnswer });
}

/** The number of times that the record of a session in use is touched within `ttl`. */
const TOUCHES = 4;

const touchInterval = ({ ttl }: ResolvedOptions): number => Math.ceil(ttl / TOUCHES);

const recordLifetime = (options: ResolvedOptions): number => options.ttl + touchInterval(options);

function createPersistence(
  options: ResolvedOptions,
  events: Emitter<CoreEvents>,
  records: RecordStore | undefined,
  member: ClusterNode | undefined,
  refusedAnswers: MemoryEvents | undefined,
): SessionPersistence {
  const { adoptAnonymous, eventStore, clock, hibernateAfter, maxLifetime } = options;
  return new SessionPersistence({
    records,
    principals: member?.principals,
    eventStore,
    refusedAnswers,
    hibernates: hibernateAfter !== undefined,
    adopts: adoptAnonymous,
    keepsAge: maxLifetime !== undefined,
    maxSubscriptions: options.maxSubscriptions,
    touchInterval: touchInterval(options),
    clock,
    events,
  });
}
