/**
 * @param {number} value
 * @param {number} digits After the point.
 */
export const number = (value, digits) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });

/**
 * Formats a median, with minimum and maximum in brackets.
 *
 * @param {import('./figures.mjs').Spread | undefined} spread
 * @param {number} digits
 */
export function range(spread, digits) {
  if (spread === undefined) return '—';
  const { median, min, max } = spread;
  return `${number(median, digits)} (${number(min, digits)}–${number(max, digits)})`;
}

/**
 * A table in Markdown.
 *
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 * @param {number} [left] How many columns are text; the others are numbers.
 */
export function table(head, rows, left = 1) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  const rule = head.map((_, index) => (index < left ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}
