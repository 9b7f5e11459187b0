import { readFileSync } from 'node:fs';

/** The folder that the package has for Grafana and Prometheus. */
export const FOLDER = 'observability';

interface GridPosition {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: GridPosition;
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

export interface Dashboard {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
}

export const dashboard = JSON.parse(readFileSync(`${FOLDER}/dashboard.json`, 'utf8')) as Dashboard;

/** The panels that show something, without the headings of rows. */
export const panels = dashboard.panels.filter(({ type }) => type !== 'row');

export const rules = readFileSync(`${FOLDER}/rules.yml`, 'utf8');
export const rulesTests = readFileSync(`${FOLDER}/rules.test.yml`, 'utf8');

/** The query as Grafana would send it, with all jobs and instances. */
export function queryOf(expr: string, interval: string): string {
  return expr.replaceAll('$__rate_interval', interval).replaceAll(/\$(job|instance)\b/g, '.+');
}

/** The names of metrics in queries. Names of recording rules have a colon, and label names of the router are known. */
export function metricsIn(queries: string): string[] {
  const names = [...queries.matchAll(/(?<![\w:])(?:mcp|nodejs)_\w+(?![\w:])/g)].map(([name]) => name);
  return [...new Set(names)].filter((name) => name !== 'mcp_method_name').sort();
}
