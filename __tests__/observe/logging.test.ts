import fc from 'fast-check';
import { pino } from 'pino';
import { type ErrorName, Refusal } from '../../src/errors.js';
import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { createLogger, logSessions } from '../../src/observe/logging/logging.js';
import { FakeClock } from '../support/fake-clock.js';
import { LogLines } from '../support/log-lines.js';
import { NO_PARTY, sessionInfo } from '../support/session-info.js';

const ID = '3f2b8c1e-0d4a-4b7c-9a52-6a1f0e9d8c7b';
const SHORT = '3f2b8c1e';

function logged(clock = new FakeClock()): { events: Emitter<CoreEvents>; lines: LogLines } {
  const lines = new LogLines();
  const events = new Emitter<CoreEvents>((_name, error) => {
    throw error;
  });
  logSessions(events, pino({ base: null, timestamp: false }, lines), clock);
  return { events, lines };
}

describe('createLogger', () => {
  const LOG_LEVEL = process.env.LOG_LEVEL;
  afterEach(() => {
    if (LOG_LEVEL === undefined) delete process.env.LOG_LEVEL;
    else process.env.LOG_LEVEL = LOG_LEVEL;
  });

  test("gives the app's own logger back", () => {
    const own = pino({ level: 'silent' });
    expect(createLogger(own)).toBe(own);
  });

  test('false is a logger that writes nothing, not even fatal errors', () => {
    process.env.LOG_LEVEL = 'trace';
    expect(createLogger(false).isLevelEnabled('fatal')).toBe(false);
  });

  test('without LOG_LEVEL the level is info', () => {
    delete process.env.LOG_LEVEL;
    const lines = new LogLines();
    const logger = createLogger(undefined, lines);
    logger.debug('unseen');
    logger.info('seen');
    expect(lines.all).toMatchObject([{ level: 30, msg: 'seen' }]);
  });

  test.each(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])('LOG_LEVEL=%s is taken', (level) => {
    process.env.LOG_LEVEL = level;
    const lines = new LogLines();
    expect(createLogger(undefined, lines).level).toBe(level);
    expect(lines.all).toEqual([]);
  });

  test('LOG_LEVEL may be spelt in capitals', () => {
    process.env.LOG_LEVEL = 'DEBUG';
    expect(createLogger(undefined, new LogLines()).level).toBe('debug');
  });

  test.each(['verbose', '', '30', '__proto__', 'constructor'])(
    'LOG_LEVEL=%j, which is no level, is warned of, and info is used',
    (level) => {
      process.env.LOG_LEVEL = level;
      const lines = new LogLines();
      const logger = createLogger(undefined, lines);
      expect(logger.level).toBe('info');
      expect(lines.all).toMatchObject([{ level: 40, asked: level, msg: 'LOG_LEVEL names no level; using info' }]);
    },
  );
});

describe("the lines of a session's life", () => {
  test('opened and restored lines have the session, the principal and the client', () => {
    const { events, lines } = logged();
    const session = sessionInfo({
      id: ID,
      principal: 'https://issuer|ada',
      clientInfo: { name: 'cli', version: '2.1' },
    });
    events.emit('opened', session);
    events.emit('restored', session);
    const who = {
      level: 30,
      session: SHORT,
      principal: 'https://issuer|ada',
      client: { name: 'cli', version: '2.1' },
      protocolVersion: '2025-11-25',
    };
    expect(lines.all).toEqual([
      { ...who, msg: 'session opened' },
      { ...who, msg: 'session restored' },
    ]);
  });

  test('a session without a principal and without client info has neither in its line', () => {
    const { events, lines } = logged();
    events.emit('opened', sessionInfo({ id: ID, clientInfo: undefined }));
    expect(lines.all).toEqual([{ level: 30, session: SHORT, protocolVersion: '2025-11-25', msg: 'session opened' }]);
  });

  test('orphaned lines have the cause and the time; closed lines the reason and the age', () => {
    const { events, lines } = logged();
    events.emit('orphaned', sessionInfo({ id: ID, idleMs: 60_000.4 }), 'stream_lost');
    events.emit('closed', sessionInfo({ id: ID, ageMs: 1_800_000.5 }), 'expired');
    expect(lines.all).toEqual([
      { level: 30, session: SHORT, cause: 'stream_lost', idleMs: 60_000, msg: 'session orphaned' },
      { level: 30, session: SHORT, reason: 'expired', ageMs: 1_800_001, msg: 'session closed' },
    ]);
  });

  test('rejected is a warning with the reason', () => {
    const { events, lines } = logged();
    events.emit('rejected', 'atCapacity', NO_PARTY);
    expect(lines.all).toEqual([{ level: 40, reason: 'atCapacity', msg: 'session rejected' }]);
  });

  test('a client name as long as a request body is cut', () => {
    const { events, lines } = logged();
    const long = 'n'.repeat(4_000_000);
    events.emit('opened', sessionInfo({ clientInfo: { name: long, version: long } }));
    expect(lines.text.length).toBeLessThan(500);
  });
});

describe('the line of a failure', () => {
  test('has the failed operation, the error with its stack, and the session', () => {
    const { events, lines } = logged();
    const error = Object.assign(new TypeError('no such table'), { code: 'ENOTABLE' });
    events.emit('failure', 'serverFactory', error, ID);
    expect(lines.all).toEqual([
      {
        level: 50,
        what: 'serverFactory',
        session: SHORT,
        err: { type: 'TypeError', message: 'no such table', code: 'ENOTABLE', stack: error.stack },
        msg: 'failure',
      },
    ]);
  });

  test('keeps the causes and the parts of an error', () => {
    const { events, lines } = logged();
    const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: -111 });
    events.emit('failure', 'store', new AggregateError([refused], 'all failed', { cause: new RangeError('deep') }));
    expect(lines.all).toMatchObject([
      {
        err: {
          type: 'AggregateError',
          message: 'all failed',
          cause: { type: 'RangeError', message: 'deep' },
          errors: [{ type: 'Error', message: 'connect ECONNREFUSED', code: -111 }],
        },
      },
    ]);
  });

  test.each<[ErrorName, number]>([
    ['hostNotAllowed', 40],
    ['storeUnavailable', 50],
  ])('a refusal %s is of level %d: a warning where the answer is a 4xx, else an error', (reason, level) => {
    const { events, lines } = logged();
    events.emit('failure', 'guard', new Refusal(reason));
    expect(lines.all).toMatchObject([{ level, err: { type: 'Refusal' } }]);
  });

  test('a notice without an error is a warning', () => {
    const { events, lines } = logged();
    events.emit('failure', 'no sub in the token', undefined);
    expect(lines.all).toEqual([{ level: 40, what: 'no sub in the token', msg: 'failure' }]);
  });

  test.each<[unknown, object]>([
    ['text', { type: 'string', message: 'text' }],
    [42, { type: 'number', message: 'not an Error' }],
    [null, { type: 'object', message: 'not an Error' }],
    [Object.create(null), { type: 'object', message: 'not an Error' }],
    [Symbol('s'), { type: 'symbol', message: 'not an Error' }],
    [{ token: 'secret' }, { type: 'object', message: 'not an Error' }],
    [{ message: 'like one' }, { type: 'Error', message: 'like one' }],
    [new DOMException('gone', 'AbortError'), { type: 'AbortError', message: 'gone' }],
    [Object.freeze(new Error('frozen')), { type: 'Error', message: 'frozen' }],
  ])('survives whatever was thrown: %p', (thrown, line) => {
    const { events, lines } = logged();
    events.emit('failure', 'tool', thrown);
    expect(lines.all).toMatchObject([{ level: 50, err: line }]);
  });

  test('comes at most a hundred times a minute for each kind, and the next minute counts those left out (docs/operations.md)', () => {
    const clock = new FakeClock();
    const { events, lines } = logged(clock);
    const fail = (times: number): void => {
      for (let n = 0; n < times; n += 1) events.emit('failure', 'an event could not be stored', new Error('OOM'));
    };
    fail(250);
    events.emit('failure', 'another kind', undefined);
    expect(lines.all).toHaveLength(101);
    clock.advance(59_999);
    fail(1);
    expect(lines.all).toHaveLength(101);
    clock.advance(1);
    fail(2);
    expect(lines.all.slice(101)).toMatchObject([{ unwritten: 151 }, { what: 'an event could not be stored' }]);
    expect(lines.all[102]).not.toHaveProperty('unwritten');
  });

  test('an error that is its own cause or a part of itself is logged once', () => {
    const { events, lines } = logged();
    const error = new AggregateError([], 'round');
    Object.assign(error, { cause: error, errors: Array.from({ length: 3 }, () => error) });
    events.emit('failure', 'tool', error);
    expect(lines.all).toMatchObject([{ err: { message: 'round', cause: { message: 'round' } } }]);
  });

  test('a message that quotes a whole request is cut', () => {
    const { events, lines } = logged();
    events.emit('failure', 'tool', new Error('x'.repeat(4_000_000)));
    expect(lines.text.length).toBeLessThan(25_000);
  });

  test('properties that a library adds to its error, such as the headers of its request, are left out', () => {
    const { events, lines } = logged();
    const headers = { authorization: 'Bearer abcdefghijklmnop', cookie: 'sid=abcdefghijklmnop' };
    const cause = Object.assign(new Error('inner'), { request: { headers } });
    events.emit('failure', 'tool', Object.assign(new Error('outer', { cause }), { config: { headers }, headers }));
    expect(lines.text).toContain('inner');
    expect(lines.text).not.toContain('abcdefghijklmnop');
  });

  test.each(['Bearer abcdefghijklmnop', 'bearer  abcdefghijklmnop', '{"authorization":"Basic abcdefghijklmnop=="}'])(
    'credentials in a message are left out: %s',
    (text) => {
      const { events, lines } = logged();
      events.emit('failure', 'tool', new Error(`401 for ${text}, sorry`));
      expect(lines.text).toContain('401 for');
      expect(lines.text).toContain('[redacted]');
      expect(lines.text).not.toContain('abcdefghijklmnop');
    },
  );

  test('a full session ID anywhere in an error is shortened, and the rest of the text is kept', () => {
    // Visible ASCII (spec 2025-11-25, basic/transports, "Session Management"), with the `$` that replacement patterns use.
    const id = fc.string({
      unit: fc.constantFrom('a', 'Z', '0', '-', '$', '&', '`', '.'),
      minLength: 16,
      maxLength: 64,
    });
    const place = fc.constantFrom('message', 'stack', 'code', 'cause', 'errors', 'thrown');
    fc.assert(
      fc.property(id, place, (id, place) => {
        const { events, lines } = logged();
        const text = `<<${id}>> and again <<${id}>>`;
        const errors: Record<typeof place, unknown> = {
          message: new Error(text),
          stack: Object.assign(new Error('m'), { stack: text }),
          code: Object.assign(new Error('m'), { code: text }),
          cause: new Error('m', { cause: new Error('n', { cause: new Error(text) }) }),
          errors: new AggregateError([new Error(text)], 'm'),
          thrown: text,
        };
        events.emit('failure', 'tool', errors[place], id);
        const short = id.slice(0, 8);
        expect(lines.text).not.toContain(id);
        expect(JSON.stringify(lines.all[0]!.err)).toContain(
          JSON.stringify(`<<${short}>> and again <<${short}>>`).slice(1, -1),
        );
      }),
    );
  });
});

test('no event of a session ever shows its full ID', () => {
  const { events, lines } = logged();
  const session = sessionInfo({ id: ID });
  events.emit('opened', session);
  events.emit('restored', session);
  events.emit('orphaned', session, 'idle');
  events.emit('revived', session);
  events.emit('closed', session, 'deleted');
  events.emit('failure', 'onclose', new Error(`session ${ID} is gone`), ID);
  expect(lines.all.length).toBeGreaterThanOrEqual(5);
  expect(lines.text).not.toContain(ID);
});
