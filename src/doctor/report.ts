import util from 'node:util';
import type { Examination, Finding } from './examine.js';

type Mark = 'ok' | 'skipped' | 'error' | 'warning' | 'info';

/** Gives a text the colour of a mark, or leaves it as it is. */
export type Paint = (mark: Mark, text: string) => string;

const COLOURS = { ok: 'green', skipped: 'gray', error: 'red', warning: 'yellow', info: 'cyan' } as const;

/** Node has `styleText` from 20.12. */
export const inColour: Paint = (mark, text) => ('styleText' in util ? util.styleText(COLOURS[mark], text) : text);
export const plain: Paint = (_mark, text) => text;

const markOf = (finding: Finding): Mark => (finding.status === 'problem' ? finding.severity : finding.status);

const hasMark =
  (mark: Mark) =>
  (finding: Finding): boolean =>
    markOf(finding) === mark;

/** Controls, and characters that change the direction of text: a terminal obeys them (CWE-150). */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A text that the endpoint may have written, with no power over a terminal. */
export const visible = (text: string): string =>
  text.replace(UNSEEN, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`);

const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** A title in a terminal has no Markdown. */
const titleOf = ({ title }: Finding): string => title.replaceAll('`', '');

/** 0: nothing is wrong. 1: warnings. 2: errors. 3: the endpoint could not be examined to the end. */
export function exitCodeOf({ findings, versions, stopped }: Examination): 0 | 1 | 2 | 3 {
  if (findings.some(hasMark('error'))) return 2;
  if (versions.length === 0 || stopped !== undefined) return 3;
  return findings.some(hasMark('warning')) ? 1 : 0;
}

/** A row for each check, then each problem and how to mend it. */
export function textReport(examination: Examination, paint: Paint): string {
  const { findings } = examination;
  const problems = findings.filter(({ status }) => status === 'problem');
  return [
    heading(examination),
    '',
    ...table(findings, paint),
    ...problems.flatMap((finding) => ['', ...details(finding, paint)]),
    '',
    summary(examination),
    '',
  ].join('\n');
}

/** The same as JSON. */
export function jsonReport(examination: Examination): string {
  return `${JSON.stringify({ ...examination, exitCode: exitCodeOf(examination) }, null, 2)}\n`;
}

function heading({ url, server, versions }: Examination): string {
  const { name, version = '' } = server;
  const named = name === undefined ? [] : [`${name} ${version}`.trim()];
  return visible([url, ...named, ...(versions.length > 0 ? [`MCP ${versions.join(', ')}`] : [])].join(' · '));
}

function table(findings: readonly Finding[], paint: Paint): string[] {
  const width = Math.max(0, ...findings.map(({ id }) => id.length));
  return findings.map((finding) => {
    const mark = markOf(finding);
    const reason = finding.status === 'skipped' ? ` (${visible(finding.reason)})` : '';
    return `${paint(mark, mark.padEnd(8))} ${finding.id.padEnd(width)}  ${titleOf(finding)}${reason}`;
  });
}

function details(finding: Finding, paint: Paint): string[] {
  if (finding.status !== 'problem') return [];
  const mark = markOf(finding);
  return [
    `${paint(mark, mark)} ${finding.id}: ${titleOf(finding)}`,
    `  seen    ${visible(finding.seen)}`,
    `  mend    ${finding.mend}`,
    `  source  ${finding.source}`,
  ];
}

function summary({ findings, requests, sessionsLeft, durationMs, stopped }: Examination): string {
  const count = (mark: Mark): number => findings.filter(hasMark(mark)).length;
  const left = sessionsLeft === 0 ? [] : [`${counted(sessionsLeft, 'session')} could not be ended`];
  return [
    `${count('ok')} ok`,
    counted(count('error'), 'error'),
    counted(count('warning'), 'warning'),
    `${count('info')} info`,
    `${count('skipped')} skipped`,
    `${counted(requests, 'request')} in ${(durationMs / 1_000).toFixed(1)} s`,
    ...left,
    ...(stopped === undefined ? [] : [`stopped: ${visible(stopped)}`]),
  ].join(', ');
}
