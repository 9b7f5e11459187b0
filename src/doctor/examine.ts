import { GROUPS } from './checks/index.js';
import { problem, skipped, type Check, type Outcome } from './check.js';
import { messageOf, NoAnswer, RateLimited, TooLarge, Unreachable } from './http-client.js';
import { Probe, type ProbeOptions } from './probe.js';
import { fieldOf } from './reply.js';
import { hider, shownUrl } from './secrets.js';
import { PER_REQUEST_VERSION, SERVER_INFO_FIELD } from './spec.js';

/** In characters, of a text of the endpoint in a report. */
const MAX_SHOWN = 300;

export const CHECKS: readonly Check[] = GROUPS.flatMap(({ checks }) => checks);

/** The result of one check, with the check itself. */
export type Finding = Pick<Check, 'id' | 'title' | 'severity' | 'source' | 'mend'> & Outcome;

/** The findings of one endpoint. */
export interface Examination {
  readonly url: string;
  /** As the server calls itself. */
  readonly server: { readonly name?: string; readonly version?: string };
  /** The versions of MCP that it agreed to. */
  readonly versions: readonly string[];
  readonly findings: readonly Finding[];
  /** The reason why the examination stopped before its end. */
  readonly stopped?: string;
  readonly requests: number;
  /** Sessions that the endpoint did not let the doctor end. */
  readonly sessionsLeft: number;
  readonly durationMs: number;
}

/**
 * Runs every check on an endpoint, one after another. Every session that it opens is ended.
 *
 * @param signal - Stops it after the check that runs: an `initialize` that is cut off may leave a session.
 * @param checks - All of them, unless a test asks for less.
 * @throws Unreachable when there is no connection, RateLimited when the first request is refused for its rate.
 */
export async function examine(options: ProbeOptions, signal?: AbortSignal, checks = CHECKS): Promise<Examination> {
  const start = performance.now();
  const probe = new Probe(options);
  const running = runChecks(probe, checks, signal);
  await Promise.allSettled([running]);
  const sessionsLeft = await probe.cleanUp();
  const { requests } = probe.client;
  const durationMs = performance.now() - start;
  return { url: shownUrl(options.url), ...(await running), requests, sessionsLeft, durationMs };
}

type Run = Pick<Examination, 'server' | 'versions' | 'findings' | 'stopped'>;

async function runChecks(probe: Probe, checks: readonly Check[], signal?: AbortSignal): Promise<Run> {
  await probe.detect();
  const described = describe(probe);
  const findings: Finding[] = [];
  for (const check of checks) {
    if (signal?.aborted === true) return { ...described, findings, stopped: 'interrupted' };
    const { id, title, severity, source, mend } = check;
    try {
      const outcome = await runCheck(probe, check);
      findings.push({ id, title, severity, source, mend, ...shown(outcome, probe) });
      // The fault may have broken the session. A new session keeps it from counting against the checks that follow.
      if (outcome.status === 'problem') await probe.renew();
    } catch (error) {
      return { ...described, findings, stopped: stopReason(error) };
    }
  }
  return { ...described, findings };
}

async function runCheck(probe: Probe, check: Check): Promise<Outcome> {
  const reason = check.needs.map((need) => need(probe)).find((each) => each !== undefined);
  if (reason !== undefined) return skipped(reason);
  try {
    return await check.run(probe);
  } catch (error) {
    if (error instanceof NoAnswer) return problem(error.message);
    throw error;
  }
}

/** The reason why no further check is run. */
function stopReason(error: unknown): string {
  if (error instanceof RateLimited || error instanceof TooLarge) return error.message;
  if (error instanceof Unreachable) return `the endpoint can no longer be reached: ${error.message}`;
  return `an error of the doctor: ${messageOf(error)}`;
}

/** The part of the endpoint's text that a report shows. */
function excerpt(text: string, { options }: Probe): string {
  const hidden = hider(options)(text);
  return hidden.length > MAX_SHOWN ? `${hidden.slice(0, MAX_SHOWN)}…` : hidden;
}

const shown = (outcome: Outcome, probe: Probe): Outcome =>
  outcome.status === 'problem' ? { ...outcome, seen: excerpt(outcome.seen, probe) } : outcome;

function describe(probe: Probe): Pick<Run, 'server' | 'versions'> {
  const { opening, session, discovered } = probe.facts;
  const info = opening?.result?.serverInfo ?? fieldOf(fieldOf(discovered, '_meta'), SERVER_INFO_FIELD);
  const said = ['name', 'version'].flatMap((name) => {
    const value = fieldOf(info, name);
    return typeof value === 'string' ? [[name, excerpt(value, probe)] as const] : [];
  });
  return {
    server: Object.fromEntries(said),
    versions: [...(session ? [session.version] : []), ...(discovered ? [PER_REQUEST_VERSION] : [])],
  };
}
