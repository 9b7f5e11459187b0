import { parseArgs } from 'node:util';
import { examine } from './examine.js';
import { messageOf, RateLimited, Unreachable } from './http-client.js';
import type { ProbeOptions } from './probe.js';
import { exitCodeOf, inColour, jsonReport, plain, textReport, visible } from './report.js';
import { splitUrl } from './secrets.js';

export const USAGE = `Usage: express-mcp-router doctor <url> [options]

Checks an MCP endpoint over Streamable HTTP: names each problem, and how to mend it.
It sends what a client may send, calls no tool unless told to, and ends the sessions that it opens.

Options:
  --header 'Name: value'  a header of each request, such as Authorization; may be repeated
  --origin <origin>       the origin of a web page that should reach the endpoint: checks CORS
  --call <tool>           calls this tool without arguments: a call may have effects
  --timeout <seconds>     how long an answer may take (default 10)
  --json                  prints JSON
  --help                  prints this

Exit code: 0 nothing is wrong, 1 warnings, 2 errors, 3 the endpoint could not be examined to the end.
`;

/** In seconds. */
const DEFAULT_TIMEOUT = '10';
const MAX_TIMEOUT = 600;

/** The exit code of a wrong command line, and of an endpoint that could not be examined. */
const NOT_EXAMINED = 3;
/** The exit code of a program that SIGINT ended (POSIX: 128 and the signal's number). */
const INTERRUPTED = 130;

/** The parts of the process that a command line uses. */
export interface Io {
  readonly version: string;
  readonly hasColours: boolean;
  /** Aborted on SIGINT. */
  readonly signal: AbortSignal;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

class UsageError extends Error {}

/**
 * Runs a command line.
 *
 * @param args - Without the names of Node and of the program.
 * @returns The exit code.
 */
export async function main(args: readonly string[], io: Io): Promise<number> {
  try {
    const { help, json, ...options } = readArguments(args, io.version);
    if (help) {
      io.out(USAGE);
      return 0;
    }
    const examination = await examine(options, io.signal);
    io.out(json ? jsonReport(examination) : textReport(examination, io.hasColours ? inColour : plain));
    return io.signal.aborted ? INTERRUPTED : exitCodeOf(examination);
  } catch (error) {
    if (error instanceof UsageError) io.err(`${error.message}\n\n${USAGE}`);
    else if (error instanceof Unreachable) io.err(`The endpoint cannot be reached: ${visible(error.message)}\n`);
    else if (error instanceof RateLimited) io.err(`${error.message}\n`);
    else throw error;
    return io.signal.aborted ? INTERRUPTED : NOT_EXAMINED;
  }
}

interface Arguments extends ProbeOptions {
  readonly help: boolean;
  readonly json: boolean;
}

function readArguments(args: readonly string[], version: string): Arguments {
  const { values, positionals } = parse(args);
  const { header, origin, call, timeout, json, help } = values;
  const [command, url, ...rest] = positionals;
  const base = { help, json, version, headers: Object.fromEntries(header.map(readHeader)) };
  if (help) return { ...base, url: new URL('http://localhost'), timeoutMs: 0 };
  if (command !== 'doctor') throw new UsageError(`Unknown command: ${command ?? 'none'}`);
  if (url === undefined || rest.length > 0) throw new UsageError('Give one URL');
  const { url: endpoint, headers } = splitUrl(readUrl(url));
  return {
    ...base,
    url: endpoint,
    headers: { ...headers, ...base.headers },
    timeoutMs: readTimeout(timeout),
    ...(origin !== undefined && { origin: readUrl(origin).origin }),
    ...(call !== undefined && { tool: call }),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        header: { type: 'string', multiple: true, default: [] },
        origin: { type: 'string' },
        call: { type: 'string' },
        timeout: { type: 'string', default: DEFAULT_TIMEOUT },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false, short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

function readHeader(text: string): [string, string] {
  const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/.exec(text) ?? [];
  // The argument may hold a token, and the log of a CI job keeps the output. So it is not printed.
  if (name === undefined || value === undefined) throw new UsageError("Not a header of the form 'Name: value'");
  return [name.toLowerCase(), value];
}

function readUrl(text: string): URL {
  if (!URL.canParse(text) || !/^https?:/i.test(text)) throw new UsageError('Not a URL of http or https');
  return new URL(text);
}

function readTimeout(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= MAX_TIMEOUT) return seconds * 1_000;
  throw new UsageError(`--timeout is from 0 to ${MAX_TIMEOUT} seconds: ${text}`);
}
