import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import {
  ErrorCode,
  McpError,
  type Result,
  type ServerNotification,
  type ServerRequest,
} from '@modelcontextprotocol/sdk/types.js';
import { pino } from 'pino';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { FakeClock } from './fake-clock.js';
import { start, type Harness } from './harness.js';
import { LogLines } from './log-lines.js';
import { RawSession, type RawSessionInit } from './raw-session.js';
import { until } from './waiting.js';

export type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

/** The server below an `McpServer`: one that can be made to do anything. */
export type LowServer = McpServer['server'];

/** What a server does for a method; what it returns is the result. */
export type Method = (params: Readonly<Record<string, string>>, extra: Extra, server: LowServer) => unknown;

/** A router whose servers do what the test says, on a clock that the test moves. */
export interface Scripted extends Harness {
  readonly clock: FakeClock;
  /** Every server that was built, oldest first. */
  readonly servers: LowServer[];
  /** How many of them are not closed. */
  serversOpen(): number;
  /** How many sockets of clients have closed, as the router sees it. */
  socketsGone(): number;
  /** What the router logged as a failure, or as a warning. */
  readonly log: LogLines;
  session(init?: RawSessionInit): Promise<RawSession>;
  /** Waits until nothing holds the session any longer; takes a millisecond or more of the clock. */
  unattached(session: RawSession): Promise<void>;
  /** Opens the standalone stream and hangs up; gives the ID of its first event once the router knows. */
  openAndLose(session: RawSession): Promise<string | undefined>;
}

/** Starts a router whose servers answer the given methods beside what the SDK answers itself. */
export async function startScripted(
  methods: Readonly<Record<string, Method>>,
  options: Partial<McpRouterOptions> = {},
  prepare: (server: LowServer) => void = () => undefined,
  mount?: Parameters<typeof start>[1],
): Promise<Scripted> {
  const clock = new FakeClock();
  const log = new LogLines();
  const servers: LowServer[] = [];
  const open = new Set<LowServer>();
  const serverFactory = (): LowServer => {
    const server = scriptedServer(methods);
    servers.push(server);
    open.add(server);
    server.onclose = () => open.delete(server);
    prepare(server);
    return server;
  };
  const harness = await start({ serverFactory, clock, logger: pino({ level: 'warn' }, log), ...options }, mount);
  let gone = 0;
  harness.http.on('connection', (socket) => socket.on('close', () => (gone += 1)));
  const unattached = ({ id }: RawSession): Promise<void> =>
    until('nothing holds the session', () => {
      clock.advance(1);
      return harness.router.sessions.get(id)?.idleMs !== 0;
    });
  return {
    ...harness,
    clock,
    servers,
    log,
    serversOpen: () => open.size,
    socketsGone: () => gone,
    session: (init) => RawSession.open(harness.url, init),
    unattached,
    async openAndLose(session) {
      const hangUp = new AbortController();
      const stream = await session.stream(undefined, hangUp.signal);
      const primed = options.eventStore !== undefined && session.version >= '2025-11-25';
      const first = primed ? await stream.block() : undefined;
      hangUp.abort();
      await unattached(session);
      return first?.id;
    },
  };
}

/** A server that answers the given methods, and all of the protocol that the SDK answers by itself. */
export function scriptedServer(methods: Readonly<Record<string, Method>>): LowServer {
  const { server } = new McpServer(
    { name: 'scripted', version: '1.0.0' },
    { capabilities: { logging: {}, tools: {} } },
  );
  server.fallbackRequestHandler = async ({ method, params }, extra) => {
    const perform = methods[method];
    if (perform === undefined) throw new McpError(ErrorCode.MethodNotFound, 'Method not found');
    return (await perform((params ?? {}) as Parameters<Method>[0], extra, server)) as Result;
  };
  return server;
}

/** Every kind of reply that a request may get. */
export const REPLIES: [name: string, options: () => Partial<McpRouterOptions>][] = [
  ['SSE', () => ({})],
  ['SSE, with an event store', () => ({ eventStore: memoryEventStore() })],
  ['JSON', () => ({ enableJsonResponse: true })],
  ['JSON, with an event store', () => ({ enableJsonResponse: true, eventStore: memoryEventStore() })],
];
