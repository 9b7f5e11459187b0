import type { Probe } from './probe.js';
import { type Reply, summaryOf } from './reply.js';

/** `error`: a MUST is violated, or clients of a kind cannot work. `warning`: a SHOULD is, or clients depend on it. `info`: worth knowing. */
export type Severity = 'error' | 'warning' | 'info';

/** The result of one check. */
export type Outcome =
  | { readonly status: 'ok' }
  | { readonly status: 'problem'; readonly seen: string; readonly severity?: Severity }
  | { readonly status: 'skipped'; readonly reason: string };

/** Returns why a check does not apply to the endpoint, or undefined when it does. */
export type Need = (probe: Probe) => string | undefined;

/** One row of the table of checks. */
export interface Check {
  readonly id: string;
  /** The rule, as a sentence that is true of a sound endpoint. */
  readonly title: string;
  /** The highest severity of its problems. */
  readonly severity: Severity;
  /** The page that has the rule. */
  readonly source: string;
  /** How to mend an endpoint that violates the rule. */
  readonly mend: string;
  readonly needs: readonly Need[];
  run(probe: Probe): Promise<Outcome> | Outcome;
}

/** The checks of one concept. */
export interface CheckGroup {
  readonly name: string;
  readonly checks: readonly Check[];
}

export const OK: Outcome = { status: 'ok' };

export const problem = (seen: string, severity?: Severity): Outcome => ({
  status: 'problem',
  seen,
  ...(severity && { severity }),
});

export const skipped = (reason: string): Outcome => ({ status: 'skipped', reason });

/** A problem that the reply shows, unless the endpoint is right. */
export const expect = (isRight: boolean, reply: Reply): Outcome => (isRight ? OK : problem(summaryOf(reply)));

export const ANY_ERA: Need = ({ facts }) =>
  facts.session === undefined && facts.discovered === undefined
    ? 'the endpoint answered neither initialize nor server/discover'
    : undefined;

export const SESSION_ERA: Need = ({ facts }) => {
  if (facts.session !== undefined) return undefined;
  return facts.discovered === undefined
    ? 'the endpoint did not answer initialize'
    : 'the endpoint serves MCP 2026-07-28 only';
};

export const SESSION_ID: Need = (probe) =>
  SESSION_ERA(probe) ??
  (probe.facts.session?.id === undefined ? 'the endpoint sends no Mcp-Session-Id: it keeps no sessions' : undefined);

export const PER_REQUEST: Need = ({ facts }) =>
  facts.discovered === undefined ? 'the endpoint does not serve MCP 2026-07-28' : undefined;

export const ORIGIN: Need = ({ options: { origin, url } }) => {
  if (origin === undefined) return 'no --origin was given';
  return origin === url.origin ? 'a page of the origin of the endpoint needs no CORS' : undefined;
};

/** DNS rebinding leads to addresses that the attacker cannot reach otherwise. */
export const LOCAL: Need = ({ facts }) =>
  facts.isLocal ? undefined : 'the address is public: DNS rebinding gives an attacker nothing there';
