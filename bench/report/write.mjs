import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTENDERS } from '../contenders/list.mjs';
import { writeToDocs } from './factories.mjs';
import { Figures } from './figures.mjs';
import { plotsOf } from './plots.mjs';
import { resultsPage } from './results.mjs';

/**
 * Writes RESULTS.md and the plots; where they are the record, also what the docs repeat of it.
 *
 * @param {string} directory
 * @param {object} report
 * @param {import('../run/results.mjs').Results} report.results
 * @param {readonly any[]} report.runs The machine and the sizes of each part.
 * @param {readonly import('../works/work.mjs').Work[]} report.works
 * @param {boolean} report.record
 */
export function writeReport(directory, { results, runs, works, record }) {
  const figures = new Figures(results);
  const plots = plotsOf(figures, CONTENDERS);
  mkdirSync(join(directory, 'plots'), { recursive: true });
  for (const { file, svg } of plots) writeFileSync(join(directory, file), svg);
  writeFileSync(join(directory, 'RESULTS.md'), resultsPage({ figures, runs, works, plots }));
  if (record) writeToDocs(figures);
}
