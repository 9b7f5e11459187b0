import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { RequestHandler } from 'express';
import { pino, type Logger } from 'pino';
import { Counter, Gauge, Registry } from 'prom-client';
import { type McpRouter, type McpRouterOptions, type SessionEvents, memoryEventStore } from '../../src/index.js';
import type { SessionStore } from '../../src/stores/session-store.js';
import { memoryStore } from '../../src/stores/index.js';
import { echoServer } from '../support/harness.js';

/** The statuses of a client's whole flow: see `user-code-check.ts`. */
export interface Flow {
  readonly initialize: number;
  readonly call?: number;
  readonly stream?: number;
  readonly delete?: number;
  readonly forbidden?: number;
  readonly metrics?: number;
}

/** A broken piece of user code in one place, and the answers that a client still gets. */
export interface Case {
  readonly options?: Partial<McpRouterOptions>;
  /** Middleware before the router. */
  readonly before?: RequestHandler;
  /** Called when the router has been made. */
  readonly prepare?: (router: McpRouter) => void;
  /** Awaited before the session is ended. */
  readonly until?: () => boolean;
  readonly expected?: Partial<Flow>;
}

export const WELL: Flow = { initialize: 200, call: 200, stream: 200, delete: 200, forbidden: 403, metrics: 200 };

/** The flow when no session could be opened. */
const unopened = (status: number): Flow => ({ initialize: status, forbidden: 403, metrics: 200 });

/** Fits every type, as users in JavaScript may pass anything. */
type Broken = (...args: unknown[]) => never;

const throws = (): never => {
  throw new Error('in user code');
};
const rejects = (): Promise<never> => Promise.reject(new Error('in user code'));
const rejectsAsThenable = () => ({
  then: (_: unknown, reject: (error: Error) => void) => reject(new Error('in user code')),
});
const hangs = (): Promise<never> => new Promise(() => undefined);

const WAYS = { throws, rejects, 'rejects as a thenable': rejectsAsThenable, hangs } as unknown as Record<
  string,
  Broken
>;

/** A clock that shortens every time. */
const impatient = {
  now: () => performance.now(),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, Math.min(ms, 30)).unref(),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
};

function loggerWith(overrides: Partial<Record<keyof Logger, unknown>>): Logger {
  const logger = pino({ level: 'trace' }, { write: () => undefined });
  return Object.assign(Object.create(logger) as Logger, overrides);
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

function destroyed(): Logger {
  const destination = pino.destination({ dest: '/dev/null', sync: true });
  destination.destroy();
  return pino(destination);
}

const sink = { write: () => undefined };

const loggers: Record<string, Logger> = {
  'a mixin that throws': pino({ mixin: throws }, sink),
  'a serializer that throws': pino({ serializers: { req: throws, res: throws, err: throws, session: throws } }, sink),
  'a logMethod hook that throws': pino({ hooks: { logMethod: throws } }, sink),
  'a formatter that throws': pino({ formatters: { log: throws } }, sink),
  'a destination that throws': pino({}, { write: throws }),
  'a destination that was destroyed': destroyed(),
  'a child method that throws': loggerWith({ child: throws }),
  'a child method that returns nothing': loggerWith({ child: () => undefined }),
  'an isLevelEnabled that throws': loggerWith({ isLevelEnabled: throws }),
};
for (const [way, broken] of Object.entries(WAYS)) {
  const methods = Object.fromEntries(LEVELS.map((level) => [level, broken]));
  loggers[`frozen methods that each ${way}`] = Object.freeze(
    loggerWith({ ...methods, child: () => loggerWith(methods) }),
  );
}

class BrokenCounter extends Counter {
  override labels(): Counter.Internal {
    const inc = (value?: number): void => {
      if (value !== 0) throws();
    };
    return { inc };
  }
}

function brokenRegistry(): Registry {
  const registry = new Registry();
  for (const name of ['mcp_sessions_opened_total', 'mcp_sessions_closed_total', 'mcp_log_lines_lost_total']) {
    const labelNames = name === 'mcp_sessions_opened_total' ? [] : ['reason'];
    new BrokenCounter({ name, help: 'broken', labelNames, registers: [registry] });
  }
  return registry;
}

function collecting(collect: () => void): Registry {
  const registry = new Registry();
  new Gauge({ name: 'of_the_app', help: 'broken', registers: [registry], collect });
  return registry;
}

const locals: Record<string, RequestHandler> = {
  'res.locals.mcp is true': (_req, res, next) => {
    res.locals.mcp = true;
    next();
  },
  'res.locals.mcp is frozen': (_req, res, next) => {
    res.locals.mcp = Object.freeze({ session: {}, method: Symbol('none') });
    next();
  },
  'res.locals.mcp cannot be read': (_req, res, next) => {
    Object.defineProperty(res.locals, 'mcp', { get: throws });
    next();
  },
  'res.locals is frozen': (_req, res, next) => {
    res.locals = Object.freeze({});
    next();
  },
  'res.locals is gone': (_req, res, next) => {
    Object.defineProperty(res, 'locals', { value: undefined });
    next();
  },
};

/** A server that answers and then breaks in all of its hooks, those of its transport included. */
function hooked(broken: Broken, ...hooks: ('onmessage' | 'onclose' | 'onerror')[]) {
  const server = echoServer();
  return {
    connect: async (transport: Transport) => {
      await server.connect(transport);
      for (const hook of hooks) {
        const own = transport[hook] as ((...args: unknown[]) => void) | undefined;
        transport[hook] = (...args: unknown[]) => {
          own?.(...args);
          return broken();
        };
      }
    },
    close: () => server.close(),
  };
}

const EVENTS: (keyof SessionEvents)[] = ['opened', 'restored', 'orphaned', 'closed'];

/** An object with one function for all its methods. */
const all = (broken: Broken, names: readonly string[]) => Object.fromEntries(names.map((name) => [name, broken]));

const STORE = ['create', 'get', 'update', 'destroy', 'claim', 'touch', 'release'] as const;
const EVENT_STORE = ['storeEvent', 'replayEventsAfter', 'getStreamIdForEventId', 'purge'] as const;

/** The status of `/metrics` for each kind of broken collector. prom-client awaits only promises of its own realm. */
const METRICS: Record<string, number> = { throws: 500, rejects: 500, hangs: 0 };

export const CASES = new Map<string, Case>();

for (const [name, logger] of Object.entries(loggers)) CASES.set(`logger: ${name}`, { options: { logger } });
for (const [name, before] of Object.entries(locals)) {
  CASES.set(name, { before, options: { logger: pino({}, sink) } });
}
CASES.set('context.signal, passed on by 20 calls at a time', {
  options: {
    serverFactory: ({ signal }) => {
      for (let call = 0; call < 20; call += 1) signal.addEventListener('abort', () => undefined);
      return echoServer();
    },
  },
});
CASES.set('metrics: counters that throw', { options: { metrics: { registry: brokenRegistry(), route: true } } });
CASES.set('metrics: counters and logger that throw', {
  options: { metrics: { registry: brokenRegistry() }, logger: loggers['a mixin that throws'] },
});

for (const [way, broken] of Object.entries(WAYS)) {
  CASES.set(`metrics: a collect that ${way}`, {
    options: { metrics: { registry: collecting(broken) } },
    expected: { metrics: METRICS[way] ?? 200 },
  });
  CASES.set(`sessionIdGenerator ${way}`, { options: { sessionIdGenerator: broken }, expected: unopened(500) });
  CASES.set(`principal ${way}`, { options: { principal: broken }, expected: unopened(500) });
  CASES.set(`serverFactory ${way}`, {
    options: { serverFactory: broken, clock: impatient },
    expected: unopened(way === 'hangs' ? 503 : 500),
  });
  CASES.set(`connect ${way}`, {
    options: { serverFactory: () => ({ connect: broken, close: hangs }), clock: impatient },
    expected: unopened(way === 'hangs' ? 503 : 500),
  });
  CASES.set(`close of a server ${way}`, {
    options: {
      serverFactory: () => {
        const server = echoServer();
        return { connect: (transport) => server.connect(transport), close: broken };
      },
      clock: impatient,
    },
  });
  CASES.set(`onclose and onerror: each ${way}`, {
    options: { serverFactory: () => hooked(broken, 'onclose', 'onerror') },
  });
  CASES.set(`onmessage ${way}`, {
    options: { serverFactory: () => hooked(broken, 'onmessage') },
    expected: way === 'hangs' ? WELL : unopened(500),
  });
  CASES.set(`listeners of sessions events: each ${way}`, {
    prepare: ({ sessions }) => {
      for (const event of EVENTS) sessions.on(event, broken);
    },
  });
  let saved = false;
  CASES.set(`a listener of hibernation ${way}`, {
    options: {
      orphanAfter: 10,
      hibernateAfter: 10,
      ttl: 60_000,
      serverFactory: (context) => {
        context.onHibernate(() => {
          saved = true;
          return broken();
        });
        return echoServer();
      },
    },
    until: () => saved,
  });
  CASES.set(`session store: each method ${way}`, {
    options: { store: all(broken, STORE) as unknown as SessionStore, clock: impatient },
    expected: unopened(503),
  });
  CASES.set(`session store: touch and release: each ${way}`, {
    options: { store: Object.assign(memoryStore(), all(broken, ['touch', 'release'])), clock: impatient, ttl: 100 },
  });
  CASES.set(`event store: each method ${way}`, {
    options: { eventStore: all(broken, EVENT_STORE) as unknown as EventStore, clock: impatient },
  });
  CASES.set(`event store: purge ${way}`, {
    options: { eventStore: Object.assign(memoryEventStore(), { purge: broken }), clock: impatient },
  });
  CASES.set(`cluster: sendCommand ${way}`, {
    options: {
      cluster: { secret: 's'.repeat(32), redis: { sendCommand: broken } },
      clock: impatient,
    },
    expected: unopened(503),
  });
}

const real = {
  now: () => performance.now(),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms).unref(),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
};
for (const method of ['now', 'setTimeout', 'clearTimeout', 'wallTime'] as const) {
  CASES.set(`clock: ${method} throws`, {
    options: { clock: { ...real, [method]: throws }, store: memoryStore(), eventStore: memoryEventStore() },
  });
}
