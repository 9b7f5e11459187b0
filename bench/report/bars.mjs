import { number } from './format.mjs';
import { element, sheet, text } from './svg.mjs';

const WIDTH = 860;
const RIGHT = 90;
/** The approximate greatest width of a character of a label. */
const CHARACTER = 6.9;
const TOP = 64;
const ROW = 24;
const BAR = 15;

/**
 * One bar, or stacked parts of one.
 *
 * @typedef {object} Row
 * @property {string} label
 * @property {readonly { value: number, kind: string }[]} parts
 * @property {{ min: number, max: number }} [whiskers]
 * @property {boolean} [strong]
 */

/**
 * Draws horizontal bars.
 *
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.subtitle
 * @param {number} chart.digits
 * @param {readonly Row[]} chart.rows
 * @param {number} [chart.mark] A value to draw a line at.
 */
export function bars({ title, subtitle, digits, rows, mark }) {
  const total = ({ parts }) => parts.reduce((sum, { value }) => sum + Math.max(0, value), 0);
  const most = Math.max(...rows.map((row) => Math.max(total(row), row.whiskers?.max ?? 0)), 0) || 1;
  const left = 24 + CHARACTER * Math.max(...rows.map(({ label }) => label.length));
  const scale = (value) => (value / most) * (WIDTH - left - RIGHT);
  const height = TOP + rows.length * ROW + 16;

  const drawn = rows.flatMap((row, index) => {
    const y = TOP + index * ROW;
    const middle = y + BAR / 2;
    let x = left;
    const parts = row.parts.map(({ value, kind }) => {
      const width = scale(Math.max(0, value));
      const part = element('rect', { class: kind, x, y, width, height: BAR });
      x += width;
      return part;
    });
    const end = Math.max(x, left + scale(row.whiskers?.max ?? 0));
    return [
      text(left - 8, middle + 4, row.label, { 'text-anchor': 'end', class: row.strong ? 'strong' : undefined }),
      ...parts,
      ...whiskers(row, middle, (value) => left + scale(value)),
      text(end + 6, middle + 4, number(total(row), digits), { class: row.strong ? 'strong' : undefined }),
    ];
  });
  const line =
    mark === undefined
      ? []
      : [
          element('line', {
            class: 'rule',
            x1: left + scale(mark),
            x2: left + scale(mark),
            y1: TOP - 6,
            y2: height - 12,
          }),
        ];
  return sheet({ width: WIDTH, height, title, subtitle }, [...line, ...drawn]);
}

function whiskers({ whiskers: span }, y, toX) {
  if (span === undefined) return [];
  const [x1, x2] = [toX(span.min), toX(span.max)];
  const stroke = (from, to) => element('line', { class: 'whisker', ...from, ...to });
  return [
    stroke({ x1, y1: y }, { x2, y2: y }),
    stroke({ x1, y1: y - 3 }, { x2: x1, y2: y + 3 }),
    stroke({ x1: x2, y1: y - 3 }, { x2, y2: y + 3 }),
  ];
}
