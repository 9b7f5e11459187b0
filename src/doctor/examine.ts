import { GROUPS } from './checks/index.js';
import { problem, skipped, type Check, type Outcome } from './check.js';
import { NoAnswer, RateLimited, Unreachable } from './http-client.js';
import { Probe, type ProbeOptions } from './probe.js';
import { PER_REQUEST_VERSION } from './spec.js';

export const CHECKS: readonly Check[] = GROUPS.flatMap(({ checks }) => checks);

/** What one check found, with the check itself. */
export type Finding = Pick<Check, 'id' | 'title' | 'severity' | 'source' | 'mend'> & Outcome;

/** What was found of one endpoint. */
export interface Examination {
  readonly url: string;
  /** As the server calls itself; undefined when it did not say. */
  readonly server: unknown;
  /** The versions of MCP that it agreed to. */
  readonly versions: readonly string[];
  readonly findings: readonly Finding[];
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
  const findings = await running;
  const requests = probe.client.replies.length;
  const durationMs = performance.now() - start;
  return { url: options.url.href, ...identity(probe), findings, requests, sessionsLeft, durationMs };
}

async function runChecks(probe: Probe, checks: readonly Check[], signal?: AbortSignal): Promise<Finding[]> {
  await probe.detect();
  const run = runner(probe);
  const findings: Finding[] = [];
  for (const check of checks) {
    const { id, title, severity, source, mend } = check;
    const outcome = await run(check);
    if (signal?.aborted === true) break;
    findings.push({ id, title, severity, source, mend, ...outcome });
  }
  return findings;
}

/** Runs checks. Once the endpoint cannot be reached or limits the rate, the rest would only say so again. */
function runner(probe: Probe): (check: Check) => Promise<Outcome> {
  let over: string | undefined;
  const giveUp = (error: unknown): void => {
    if (error instanceof RateLimited) over = error.message;
    else if (error instanceof Unreachable) over = `the endpoint can no longer be reached: ${error.message}`;
    else throw error;
  };
  const runOne = async (check: Check): Promise<Outcome> => {
    try {
      return await check.run(probe);
    } catch (error) {
      if (error instanceof NoAnswer) return problem(error.message);
      giveUp(error);
      return skipped(over ?? '');
    }
  };
  return async (check) => {
    const reason = over ?? check.needs.map((need) => need(probe)).find((each) => each !== undefined);
    if (reason !== undefined) return skipped(reason);
    const outcome = await runOne(check);
    // What was wrong may have broken the session, and must not count against the checks that follow.
    if (outcome.status === 'problem') await probe.renew().catch(giveUp);
    return outcome;
  };
}

function identity({ facts: { opening, session, discovered } }: Probe): Pick<Examination, 'server' | 'versions'> {
  return {
    server: opening?.result?.serverInfo,
    versions: [...(session ? [session.version] : []), ...(discovered ? [PER_REQUEST_VERSION] : [])],
  };
}
