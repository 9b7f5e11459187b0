import { number } from './format.mjs';
import { element, sheet, text } from './svg.mjs';

const WIDTH = 860;
const HEIGHT = 420;
const LEFT = 70;
const RIGHT = 260;
const TOP = 70;
const BOTTOM = 50;
const LABEL = 16;

/**
 * @typedef {object} Series
 * @property {string} label
 * @property {string} kind
 * @property {readonly { x: number, y: number }[]} points
 */

/**
 * Draws lines over a logarithmic axis, each with its name at its end.
 *
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.subtitle
 * @param {string} chart.xTitle
 * @param {readonly Series[]} chart.series
 */
export function lines({ title, subtitle, xTitle, series }) {
  const points = series.flatMap((each) => each.points);
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const most = niceAbove(Math.max(...points.map(({ y }) => y), 1));
  const [first, last] = [Math.log(xs[0]), Math.log(xs.at(-1))];
  const toX = (x) => LEFT + ((Math.log(x) - first) / (last - first || 1)) * (WIDTH - LEFT - RIGHT);
  const toY = (y) => HEIGHT - BOTTOM - (y / most) * (HEIGHT - TOP - BOTTOM);

  const rules = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => {
    const y = toY(share * most);
    return [
      element('line', { class: 'rule', x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }),
      text(LEFT - 8, y + 4, number(share * most, 0), { 'text-anchor': 'end', class: 'faint' }),
    ];
  });
  const ticks = xs.map((x) =>
    text(toX(x), HEIGHT - BOTTOM + 20, number(x, 0), { 'text-anchor': 'middle', class: 'faint' }),
  );
  const drawn = series.map(({ kind, points: of }) =>
    element('polyline', {
      class: `line ${kind}`,
      points: of.map(({ x, y }) => `${toX(x).toFixed(1)},${toY(y).toFixed(1)}`).join(' '),
    }),
  );
  return sheet({ width: WIDTH, height: HEIGHT, title, subtitle }, [
    ...rules,
    ...ticks,
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, xTitle, { 'text-anchor': 'middle', class: 'faint' }),
    ...drawn,
    ...names(series, toX, toY),
  ]);
}

/** Places the names at the ends of the lines, and moves them apart where they overlap. */
function names(series, toX, toY) {
  const ends = series
    .map(({ label, kind, points }) => ({ label, kind, x: toX(points.at(-1).x), y: toY(points.at(-1).y) }))
    .sort((a, b) => a.y - b.y);
  let free = TOP;
  for (const end of ends) {
    end.y = Math.max(end.y, free);
    free = end.y + LABEL;
  }
  let floor = HEIGHT - BOTTOM;
  for (const end of ends.toReversed()) {
    end.y = Math.min(end.y, floor);
    floor = end.y - LABEL;
  }
  return ends.map(({ label, kind, x, y }) =>
    text(x + 8, y + 4, label, { class: kind === 'ours' ? 'strong' : 'faint' }),
  );
}

/** Rounds up to a number that is easy to read. */
function niceAbove(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * unit).find((step) => step >= value);
}
