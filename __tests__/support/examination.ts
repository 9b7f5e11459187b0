import { examine, type Examination } from '../../src/doctor/examine.js';
import type { ProbeOptions } from '../../src/doctor/probe.js';

/** Runs every check of the doctor (docs/doctor.md) on an endpoint. */
export const visit = (url: URL, options: Partial<ProbeOptions> = {}): Promise<Examination> =>
  examine({ url, headers: {}, timeoutMs: 20_000, version: '0.0.0', ...options });

/** What was found wrong: the ID of each check, and what it saw. */
export const problemsOf = ({ findings }: Examination): Record<string, string> =>
  Object.fromEntries(findings.flatMap((each) => (each.status === 'problem' ? [[each.id, each.seen]] : [])));
