import { readFileSync } from 'node:fs';
import { ensureDebianTool } from '../support/debian.js';
import { promtool } from '../support/prometheus.js';
import { dashboard, FOLDER, panels, rules, rulesTests } from './observability.js';

const runbook = readFileSync('docs/runbook.md', 'utf8');
const alerts = [...rules.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name]) => name!);

const all = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, found]) => found!);

describe('observability/rules.yml', () => {
  // Downloads the package where it is not there yet.
  beforeAll(() => ensureDebianTool('promtool', 'prometheus'), 300_000);

  test('`promtool check rules` finds no fault', async () => {
    const { said, code } = await promtool(['check', 'rules', `${FOLDER}/rules.yml`]);
    expect({ code, said }).toEqual({ code: 0, said: expect.stringContaining('SUCCESS') });
  });

  test('`promtool test rules`: each alert fires in its situation, and none in a quiet hour', async () => {
    const { said, code } = await promtool(['test', 'rules', `${FOLDER}/rules.test.yml`]);
    expect({ code, said }).toEqual({ code: 0, said: expect.stringContaining('SUCCESS') });
  });

  test('each alert has a situation in which it fires, and is looked for in the quiet hour', () => {
    expect(all(rulesTests, /^ +- alertname: (\w+)$/gm).sort()).toEqual([...alerts].sort());
    const quiet = all(rulesTests, /alertname: (\w+), eval_time: \w+, exp_alerts: \[\]/g);
    expect([...new Set(quiet)].sort()).toEqual([...alerts].sort());
  });

  test('each alert has a severity, and an annotation with its section of the runbook', () => {
    expect(all(rules, /^ +labels: \{ severity: (?:warning|critical) \}()$/gm)).toHaveLength(alerts.length);
    expect(all(rules, /^ +runbook: docs\/runbook\.md#(\w+)$/gm)).toEqual(alerts.map((name) => name.toLowerCase()));
  });
});

describe('docs/runbook.md', () => {
  const sections = runbook.split(/^## /m).filter((section) => section.startsWith('Mcp'));

  test('has a section for each alert, in the same order, and for no other', () => {
    expect(sections.map((section) => section.split('\n')[0])).toEqual(alerts);
  });

  test.each(sections.map((section): [string | undefined, string] => [section.split('\n')[0], section]))(
    '%s: says what it means, what to look at, and what to do',
    (_name, section) => {
      expect(all(section, /^- \*\*(.+?)\*\*: /gm)).toEqual(['Means', 'Look at', 'Do']);
    },
  );

  test('names only panels that the dashboard has', () => {
    const titles = new Set(panels.map(({ title }) => title));
    const named = all(runbook, /“([^”]+)”/g).map((name) => name.replaceAll(/\s+/g, ' '));
    expect(named.filter((name) => !titles.has(name))).toEqual([]);
  });
});

describe('observability/dashboard.json', () => {
  test('has the rows of the router: traffic, sessions, streams, cluster, store, per-request era', () => {
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39);
    expect(dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)).toEqual([
      'Traffic',
      'Sessions',
      'Streams',
      'Cluster',
      'Store',
      'Per-request era (MCP 2026-07-28)',
    ]);
  });

  test('takes its data source from a variable, so that it can be imported anywhere', () => {
    const variables = dashboard.templating.list.map(({ name, type }) => `${type} ${name}`);
    expect(variables).toEqual(['datasource datasource', 'query job', 'query instance']);
    const sources = panels.map(({ datasource }) => datasource);
    expect(sources).toEqual(panels.map(() => ({ type: 'prometheus', uid: '${datasource}' })));
  });

  test.each(panels.map((panel) => [panel.title, panel]))('%s: has a unit, a description and legends', (_, panel) => {
    if (typeof panel === 'string') throw new TypeError('not a panel');
    expect(panel.fieldConfig?.defaults.unit).toMatch(/^(s|short|reqps|cps|ops|percentunit)$/);
    expect(panel.description).toMatch(/\.$/);
    expect(panel.targets?.every(({ legendFormat }) => legendFormat !== '')).toBe(true);
    const named = /Runbook: ([\w, ]+)\.$/.exec(panel.description!)?.[1]?.split(', ') ?? [];
    expect(named.filter((name) => !alerts.includes(name))).toEqual([]);
  });

  test('has unique IDs and titles, and no panel covers another', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    expect(new Set(dashboard.panels.map(({ title }) => title)).size).toBe(dashboard.panels.length);
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, n) => `${x + (n % w)} ${y + Math.floor(n / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
  });
});
