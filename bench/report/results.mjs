import { CONTENDERS } from '../contenders/list.mjs';
import { entriesOf, GENERATOR } from '../works/work.mjs';
import { factorySection } from './factories.mjs';
import { flatnessAllowance, flatnessLimit } from './flatness-limit.mjs';
import { spread } from './figures.mjs';
import { number, table } from './format.mjs';
import { losses, lossRows } from './losses.mjs';
import { targetTable } from './targets.mjs';
import { workTable } from './work-table.mjs';

const minutes = (from, to) => Math.round((new Date(to).getTime() - new Date(from).getTime()) / 60_000);

/** @param {readonly any[]} runs One run, or its parts if it was interrupted. */
function machine(runs) {
  const run = runs.at(-1);
  return table(
    ['', ''],
    [
      ['processor', `${run.cpu}, ${run.cores} cores`],
      ['memory', `${run.memoryGiB} GiB`],
      ['system', run.system],
      ['Node', `${run.node} (V8 ${run.v8})`],
      [
        'versions',
        Object.entries(run.versions)
          .map(([name, version]) => `${name} ${version}`)
          .join(', '),
      ],
      ...runs.flatMap((part, index) => partRows(part, runs.length > 1 ? `, part ${index + 1}` : '')),
    ],
    2,
  );
}

const partRows = (run, part) => [
  [`measured${part}`, `${run.startedAt} to ${run.finishedAt}, ${minutes(run.startedAt, run.finishedAt)} minutes`],
  [`load average${part}`, `${number(run.load, 2)} before, ${number(run.loadAfter, 2)} after (the run itself is one)`],
  [`commit${part}`, run.commit ?? 'unknown'],
  // The output directory does not describe the run.
  [`command${part}`, `\`${run.command.replace(/ --out \S+/, '')}\``],
];

/** The number of rounds; if parts differ, the number of each part. */
function roundsOf(runs) {
  const [first, ...others] = runs.map(({ sizes }) => sizes.rounds);
  if (others.every((rounds) => rounds === first)) return `${first} rounds`;
  return `the rounds of its part (${runs.map(({ sizes }, index) => `${sizes.rounds} in part ${index + 1}`).join(', ')})`;
}

function method(runs) {
  const { sizes } = runs.at(-1);
  return `Each number is the median of ${roundsOf(runs)}, with the least and the most in brackets. Rounds are interleaved (A B C A B
C …), and a ratio is one of two numbers of the same round; the base is the SDK v1 wiring over Express in SSE, plain, with
\`app.listen\`, unless a work says otherwise. In each round a contender has a process of its own, works for ${sizes.warmMs / 1000} s unmeasured and for ${sizes.measureMs / 1000} s
measured, unless a work says otherwise. CPU is that of all the contender's threads. The load comes from another process, which checks every answer: status, request
ID, every byte of the text, the order of notifications; one wrong or missing answer ends the contender's part in that work, and
is shown. Request IDs count from 0 in each session, as those of the SDK's client do. What each contender is and leaves out is
in \`bench/contenders/\`.`;
}

/** Shows whether the load generator was the limit in any workload. */
function generator(works, figures) {
  const ceiling = spread(figures.values('call-100', 'node', 'throughput'));
  const busy = spread(figures.values('call-100', 'node', 'generator'));
  const told = works.filter(({ columns }) => columns.includes(GENERATOR));
  const shares = told.flatMap((work) =>
    entriesOf(work, CONTENDERS).flatMap((entry) => {
      const share = spread(figures.values(work.name, entry.name, 'generator'));
      return share === undefined ? [] : [{ work, entry, share: share.median }];
    }),
  );
  const most = (group) =>
    shares.filter(({ entry }) => group.includes(entry.contender.group)).sort((a, b) => b.share - a.share)[0];
  const lines = [];
  if (ceiling !== undefined && busy !== undefined) {
    lines.push(
      `Against bare \`node:http\` the generator made ${number(ceiling.median, 0)} calls/s and took ${number(busy.median, 0)} % of one core: ` +
        'it can make at least so many, each checked.',
    );
  }
  for (const [group, whose] of [
    [['ours'], 'ours'],
    [['sdk', 'peer'], 'the peers'],
  ]) {
    const found = most(group);
    if (found === undefined) continue;
    lines.push(
      `Of all measurements of ${whose} it was busiest in “${found.work.title}” (${found.entry.title}): ${number(found.share, 0)} % of one core.`,
    );
  }
  lines.push(
    'The tables that tell its share have it in their last column; where it is near 100 %, the contender could do more than is shown.',
  );
  return lines.join(' ');
}

const RIVALS =
  'Each is held against ours in SSE with the same kind of `serverFactory`. Who takes none is held against the kind that builds ' +
  "what it does itself (fastmcp, mcp-framework: the SDK's low-level `Server`, with handlers for all sessions), or else the cheap " +
  'one. Where ours was not measured with that kind, the next dearer one stands for it. Only who listens with `createHttpServer` ' +
  'is left out where ours does not.';

const UNEQUAL =
  'Some who take no factory build less for a session than ours does with the cheap `McpServer` factory, the one that our ' +
  'docs advise first. Where they are ahead of it, which is not counted for the target:';

const lossTable = (found) =>
  table(['work', 'number', 'ours', 'ahead of us', 'ours / theirs', 'in every round'], lossRows(found), 4);

function whereWeLose(found) {
  const alike = found.filter((loss) => loss.alike);
  const unequal = found.filter((loss) => !loss.alike);
  const told =
    alike.length === 0
      ? `Nowhere in this run: no peer is ahead in the median of throughput, CPU, p99 latency or memory. ${RIVALS}`
      : `By medians. ${RIVALS}\n\n${lossTable(alike)}`;
  return unequal.length === 0 ? told : `${told}\n\n${UNEQUAL}\n\n${lossTable(unequal)}`;
}

/** Whether any peer took part. */
const metPeers = (works, figures) =>
  works.some((work) =>
    entriesOf(work, CONTENDERS).some(
      ({ name, contender }) => contender.group === 'peer' && figures.has(work.name, name),
    ),
  );

/**
 * @param {readonly import('./losses.mjs').Loss[]} found
 * @param {boolean} met Whether any peer took part.
 */
function aheadRow(found, met) {
  if (!met) return ['ahead of every peer, in every row', 'yes', 'yes', '—', 'not measured'];
  const { length } = found.filter(({ alike }) => alike);
  const verdict = length === 0 ? 'reached' : '**missed**';
  const measured = length === 0 ? 'yes' : `no: behind in ${length} ${length === 1 ? 'number' : 'numbers'}, below`;
  return ['ahead of every peer, in every row', 'yes', 'yes', measured, verdict];
}

/** Derived tables, by the workload that they follow. */
const BELOW = { 'open-servers': flatnessAllowance, 'layers-call-10000': flatnessLimit };

function section(work, figures) {
  const parts = [`## ${work.title}`, work.about, workTable(work, entriesOf(work, CONTENDERS), figures)];
  return [...parts, BELOW[work.name]?.(figures)].filter((part) => part !== undefined).join('\n\n');
}

/**
 * The whole report in Markdown.
 *
 * @param {object} report
 * @param {import('./figures.mjs').Figures} report.figures
 * @param {readonly any[]} report.runs
 * @param {readonly import('../works/work.mjs').Work[]} report.works
 * @param {readonly { file: string, title: string }[]} report.plots
 */
export function resultsPage({ figures, runs, works, plots }) {
  const found = losses(works, CONTENDERS, figures);
  const measured = works.filter((work) => entriesOf(work, CONTENDERS).some(({ name }) => figures.has(work.name, name)));
  return `${[
    '# Results',
    'Written by `npm run bench`; nothing here is typed by hand.',
    machine(runs),
    method(runs),
    '## Targets',
    'Ratios to the SDK v1 wiring over Express in SSE, plain, of the same run, unless a row says otherwise.',
    targetTable(figures, [aheadRow(found, metPeers(works, figures))]),
    '## Where we lose',
    whereWeLose(found),
    '## The load generator',
    generator(works, figures),
    factorySection(figures),
    ...plots.map(({ file, title }) => `![${title}](${file})`),
    ...measured.map((work) => section(work, figures)),
  ].join('\n\n')}\n`;
}
