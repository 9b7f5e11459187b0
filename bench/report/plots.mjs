import { FULL } from '../sizes.mjs';
import { aloneLike, entriesOf } from '../works/work.mjs';
import { WORKS } from '../works/index.mjs';
import { bars } from './bars.mjs';
import { spread } from './figures.mjs';
import { lines } from './lines.mjs';

/** @typedef {import('./figures.mjs').Figures} Figures */

const workNamed = (name) => WORKS.find((work) => work.name === name);

/** The entries of a workload that have figures. */
function measured(name, contenders, figures, metric) {
  return entriesOf(workNamed(name), contenders).flatMap((entry) => {
    const values = spread(figures.values(name, entry.name, metric));
    return values === undefined ? [] : [{ entry, values }];
  });
}

const kindOf = ({ contender: { group } }) => group;
const isOurs = (entry) => kindOf(entry) === 'ours';

function throughput(figures, contenders) {
  const rows = measured('call-100', contenders, figures, 'throughput').flatMap(({ entry }) => {
    const ratio = spread(figures.ratios('call-100', entry.name, 'sdk', 'throughput'));
    if (ratio === undefined) return [];
    return [
      {
        label: entry.title,
        parts: [{ value: ratio.median, kind: kindOf(entry) }],
        whiskers: ratio,
        strong: isOurs(entry),
      },
    ];
  });
  return {
    title: 'tools/call, 100 sessions: throughput',
    subtitle: 'times the SDK v1 wiring over Express (SSE); median, least and most of the rounds; more is better',
    digits: 2,
    mark: 1,
    rows: rows.sort((a, b) => b.parts[0].value - a.parts[0].value),
  };
}

function cpu(figures, contenders) {
  const rows = measured('call-100', contenders, figures, 'cpu').map(({ entry, values }) => ({
    label: entry.title,
    parts: [{ value: values.median, kind: kindOf(entry) }],
    whiskers: values,
    strong: isOurs(entry),
  }));
  return {
    title: 'tools/call, 100 sessions: CPU time of the server for each call',
    subtitle: 'µs, all threads; median, least and most of the rounds; less is better',
    digits: 0,
    rows: rows.sort((a, b) => a.parts[0].value - b.parts[0].value),
  };
}

function opening(figures, contenders) {
  const rows = measured('open', contenders, figures, 'throughput').flatMap(({ entry }) => {
    const ratio = spread(figures.ratios('open', entry.name, 'sdk', 'throughput'));
    if (ratio === undefined) return [];
    return [
      {
        label: entry.title,
        parts: [{ value: ratio.median, kind: kindOf(entry) }],
        whiskers: ratio,
        strong: isOurs(entry),
      },
    ];
  });
  return {
    title: 'Opening and ending sessions',
    subtitle: "initialize, initialized, DELETE; times the SDK v1 wiring's usual way; more is better",
    digits: 2,
    mark: 1,
    rows: rows.sort((a, b) => b.parts[0].value - a.parts[0].value),
  };
}

function openSessions(figures, contenders) {
  const levels = ['few', 'some', 'many'];
  const ofDefaults = contenders.filter(({ node }) => node === undefined);
  const series = entriesOf(workNamed('open-sessions'), ofDefaults).flatMap((entry) => {
    const points = levels.flatMap((level, index) => {
      const values = spread(figures.values('open-sessions', entry.name, `throughput-${level}`));
      return values === undefined ? [] : [{ x: FULL.openSessions[index], y: values.median }];
    });
    return points.length < levels.length ? [] : [{ label: entry.title, kind: kindOf(entry), points }];
  });
  return {
    title: 'Throughput by open sessions',
    subtitle: 'tools/call a second, every session called in its turn; more is better',
    xTitle: 'open sessions',
    series,
  };
}

/** The part of a bar that shows the SDK's server alone. */
function memoryRow(figures, work, entry, heap) {
  const { name, title, contender, settings } = entry;
  const alone = aloneLike(workNamed(work), entry);
  const server = spread(figures.values(work, alone, 'heap'));
  const tools = `${title.replace('; cheap factory', '')}, ${settings.tools} tools`;
  if (server === undefined || (contender.group !== 'ours' && contender.group !== 'sdk')) {
    return { label: tools, parts: [{ value: heap.median, kind: contender.group }] };
  }
  const share = spread(figures.differences(work, name, alone, 'heap'));
  return {
    label: tools,
    parts: [
      { value: heap.median - Math.max(0, share.median), kind: 'limit' },
      { value: Math.max(0, share.median), kind: contender.group },
    ],
    strong: contender.group === 'ours',
  };
}

const SHOWN_IN_MEMORY = ['router-fast', 'sdk', 'v2', 'mongodb', 'mcp-proxy', 'fastmcp', 'mcp-framework'];

function memory(figures, contenders) {
  const shown = contenders.filter(({ name }) => SHOWN_IN_MEMORY.includes(name));
  const cheapest = ({ entry: { contender, settings } }) => settings.factory !== 'usual' || !contender.cheap;
  const rows = ['memory-10', 'memory-50'].flatMap((work) =>
    measured(work, shown, figures, 'heap')
      .filter(cheapest)
      .map(({ entry, values }) => memoryRow(figures, work, entry, values)),
  );
  return {
    title: 'Heap for each idle session',
    subtitle:
      "KiB, with a cheap factory unless another is named; pale: the SDK's server alone, coloured: what is beyond it (peers: all); less is better",
    digits: 1,
    rows,
  };
}

/**
 * Draws all plots for which the run has figures.
 *
 * @param {Figures} figures
 * @param {readonly import('../contenders/list.mjs').Contender[]} contenders
 * @returns {{ file: string, title: string, svg: string }[]}
 */
export function plotsOf(figures, contenders) {
  const charts = [
    { file: 'plots/throughput.svg', draw: bars, chart: throughput(figures, contenders) },
    { file: 'plots/cpu.svg', draw: bars, chart: cpu(figures, contenders) },
    { file: 'plots/open-sessions.svg', draw: lines, chart: openSessions(figures, contenders) },
    { file: 'plots/opening.svg', draw: bars, chart: opening(figures, contenders) },
    { file: 'plots/memory.svg', draw: bars, chart: memory(figures, contenders) },
  ];
  return charts
    .filter(({ chart }) => (chart.rows ?? chart.series).length > 0)
    .map(({ file, draw, chart }) => ({ file, title: chart.title, svg: draw(chart) }));
}
