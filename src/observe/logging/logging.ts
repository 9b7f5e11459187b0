import type { IncomingMessage, ServerResponse } from 'node:http';
import { type DestinationStream, type LevelWithSilent, type Logger, pino } from 'pino';
import { pinoHttp } from 'pino-http';
import { ERRORS, Refusal } from '../../errors.js';
import type { CoreEvents, SessionInfo } from '../../events.js';
import type { HttpRequest } from '../../options/options.js';
import type { Clock } from '../../runtime/clock.js';
import type { Emitter } from '../../runtime/emitter.js';
import { shortId } from '../../sessions/session-ids.js';
import { logFactsOf, type LogFacts } from '../../transport/response-facts.js';
import { LineLimit } from './line-limit.js';
import { type ErrorLine, errorLine, bounded } from './log-text.js';

const DEFAULT_LEVEL = 'info';

/**
 * The app's logger, or a silent one for `false`. Without the option: pino at the level of `LOG_LEVEL`.
 *
 * @param destination - The destination of pino. Default: stdout.
 */
export function createLogger(option: Logger | false | undefined, destination?: DestinationStream): Logger {
  if (option === false) return pino({ enabled: false });
  if (option !== undefined) return option;

  const asked = process.env.LOG_LEVEL ?? DEFAULT_LEVEL;
  const level = asked.toLowerCase();
  const levels = [...Object.keys(pino.levels.values), 'silent'];
  if (levels.includes(level)) return pino({ level }, destination);

  const logger = pino({ level: DEFAULT_LEVEL }, destination);
  logger.warn({ asked, levels }, `LOG_LEVEL names no level; using ${DEFAULT_LEVEL}`);
  return logger;
}

/** Keeps the result of `errorLine` unchanged: pino's own serializer would treat it as another error. */
const ERROR_LINES = { err: (line: unknown) => line };

/**
 * Writes a line for each change of a session's state, and for each failure that no client gets an answer about. Of failures of
 * one kind it writes a hundred lines a minute. The next line after that has the number of dropped lines.
 */
export function logSessions(events: Emitter<CoreEvents>, logger: Logger, clock: Clock): void {
  const failureLines = new LineLimit(clock);
  const log = logger.child({}, { serializers: ERROR_LINES });
  events
    .on('opened', (session) => log.info(described(session), 'session opened'))
    .on('restored', (session) => log.info(described(session), 'session restored'))
    .on('claimed', (id, from, epoch) => log.info({ session: shortId(id), from, epoch }, 'session claimed'))
    .on('joined', (node) => log.info({ node }, 'cluster joined'))
    .on('fenced', (node, why) => log.error({ node, why }, 'cluster node fenced: its sessions are let go of'))
    .on('adopted', (session) => log.info(described(session), 'session adopted'))
    .on('orphaned', ({ id, idleMs }, cause) => {
      log.info({ session: shortId(id), cause, idleMs: Math.round(idleMs) }, 'session orphaned');
    })
    .on('hibernated', ({ id, idleMs }) => {
      log.info({ session: shortId(id), idleMs: Math.round(idleMs) }, 'session hibernated');
    })
    .on('closed', ({ id, ageMs }, reason) => {
      log.info({ session: shortId(id), reason, ageMs: Math.round(ageMs) }, 'session closed');
    })
    .on('rejected', (reason) => log.warn({ reason }, 'session rejected'))
    .on('failure', (what, error, sessionId) => {
      const unwritten = failureLines.take(what);
      if (unwritten === undefined) return;
      const more = unwritten > 0 ? { unwritten } : {};
      const session = sessionId === undefined ? {} : { session: shortId(sessionId) };
      const err = error === undefined ? {} : { err: errorLine(error, sessionId) };
      log[failureLevel(error)]({ what, ...session, ...more, ...err }, 'failure');
    });
}

function described({ id, principal, clientInfo, protocolVersion }: SessionInfo): object {
  const client = clientInfo && { name: bounded(clientInfo.name), version: bounded(clientInfo.version) };
  return { session: shortId(id), principal, client, protocolVersion };
}

/** `warn` for a notice without an error, and for a refusal with 4xx. Any other error is a fault. */
function failureLevel(error: unknown): 'warn' | 'error' {
  if (error === undefined) return 'warn';
  return error instanceof Refusal && ERRORS[error.reason].status < 500 ? 'warn' : 'error';
}

/**
 * Logs each request in one line when its reply has ended. The time of an SSE stream includes all the time that it was open.
 * Requests with a `req.log` are skipped, as the app logs them itself.
 *
 * The line has neither headers nor the query string, as both may contain credentials.
 */
export function createRequestLog(logger: Logger): (req: HttpRequest, res: ServerResponse) => void {
  if (!logger.isLevelEnabled('error')) return () => undefined;

  const attach = pinoHttp<HttpRequest>({
    logger,
    wrapSerializers: false,
    serializers: {
      ...ERROR_LINES,
      req: ({ method, originalUrl, url = '', socket }: HttpRequest) => ({
        method,
        url: (originalUrl ?? url).split('?', 1)[0],
        remoteAddress: socket.remoteAddress,
      }),
      res: ({ statusCode }: ServerResponse) => ({ statusCode }),
    },
    customLogLevel: (_req, res, error) => requestLevel(res, error),
    customSuccessMessage: (_req, res) => ending(res),
    customErrorMessage: (_req, res) => ending(res),
    customSuccessObject: (_req, res, line: object) => ({ ...facts(res), ...line }),
    customErrorObject: (req, res, error, line: object) => ({ ...facts(res), ...line, err: causeOf(req, res, error) }),
  });
  return (req, res) => {
    if (!('log' in req)) attach(req, res);
  };
}

/**
 * `error` only for a fault of the server. A 503 is a warning, as the server sends it at a cap and during each deploy. A 4xx is
 * normal: clients begin with a GET that a stateless endpoint answers with 405, and get 404 for a lost session. An aborted
 * request is normal, too, as most GET streams end that way.
 */
function requestLevel(res: ServerResponse, error: Error | undefined): LevelWithSilent {
  if (res.statusCode === 503) return 'warn';
  if (error !== undefined) return 'error';
  return res.writableFinished && res.statusCode >= 500 ? 'error' : 'info';
}

/** The error of a request. pino-http creates an error for a 5xx without one. That error is dropped, as its stack is of no use. */
function causeOf(req: IncomingMessage, res: ServerResponse, error: Error): ErrorLine | undefined {
  if (res.err === undefined && res.statusCode >= 500) return undefined;
  const session = req.headers['mcp-session-id'];
  return errorLine(error, typeof session === 'string' ? session : undefined);
}

function ending(res: ServerResponse): string {
  return res.writableFinished ? 'request completed' : 'request aborted';
}

function facts(res: ServerResponse): LogFacts {
  try {
    const { session, method, error } = logFactsOf(res);
    return {
      ...(typeof session === 'string' && { session: bounded(session) }),
      ...(typeof method === 'string' && { method: bounded(method) }),
      ...(typeof error === 'string' && { error: bounded(error) }),
    };
  } catch {
    // Other middleware removed `locals`, or made it throw. An error from here would end the process.
    return {};
  }
}
