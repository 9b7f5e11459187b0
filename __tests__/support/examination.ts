import { CHECKS, examine, type Examination } from '../../src/doctor/examine.js';
import type { ProbeOptions } from '../../src/doctor/probe.js';

/** Runs the checks of the doctor (docs/doctor.md) on an endpoint: every one, or those with some IDs. */
export function visit(url: URL, options: Partial<ProbeOptions> = {}, ids?: readonly string[]): Promise<Examination> {
  const checks = CHECKS.filter(({ id }) => ids?.includes(id) ?? true);
  return examine({ url, headers: {}, timeoutMs: 20_000, version: '0.0.0', ...options }, undefined, checks);
}

/** The problems: the ID of each check, with the text of the problem. */
export const problemsOf = ({ findings }: Examination): Record<string, string> =>
  Object.fromEntries(findings.flatMap((each) => (each.status === 'problem' ? [[each.id, each.seen]] : [])));
