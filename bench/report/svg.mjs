/** The SVG that the plots need: elements as text, and a sheet that is readable on light and dark pages. */

const escaped = (value) =>
  String(value).replace(
    /[&<>"]/g,
    (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character],
  );

/**
 * @param {string} name
 * @param {Record<string, string | number | undefined>} attributes
 * @param {string} [content] Elements; a text must have been through {@link text}.
 */
export function element(name, attributes, content = '') {
  const given = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escaped(typeof value === 'number' ? Math.round(value * 100) / 100 : value)}"`);
  return content === '' ? `<${name}${given.join('')}/>` : `<${name}${given.join('')}>${content}</${name}>`;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {Record<string, string | number | undefined>} [attributes]
 */
export const text = (x, y, content, attributes = {}) => element('text', { x, y, ...attributes }, escaped(content));

/** The sheet has its own background, because the page may not follow the system's colour scheme. */
const STYLE = `
  svg { --ground: #ffffff; --ink: #1f2328; --faint: #59636e; --rule: #d1d9e0;
        --ours: #0969da; --sdk: #bc4c00; --peer: #818b98; --limit: #d1d9e0; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #0d1117; --ink: #f0f6fc; --faint: #9198a1; --rule: #3d444d;
          --ours: #4493f8; --sdk: #f0883e; --peer: #7d8590; --limit: #3d444d; }
  }
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: var(--ink); }
  .title { font-size: 15px; font-weight: 600; }
  .faint { fill: var(--faint); }
  .strong { font-weight: 600; }
  .ground { fill: var(--ground); }
  .rule { stroke: var(--rule); stroke-width: 1; }
  .whisker { stroke: var(--ink); stroke-width: 1; opacity: 0.6; }
  rect.ours { fill: var(--ours); } rect.sdk { fill: var(--sdk); }
  rect.peer { fill: var(--peer); } rect.limit { fill: var(--limit); }
  .line { fill: none; stroke-width: 2; }
  .line.ours { stroke: var(--ours); stroke-width: 3; } .line.sdk { stroke: var(--sdk); } .line.peer { stroke: var(--peer); }
`;

/**
 * @param {object} sheet
 * @param {number} sheet.width
 * @param {number} sheet.height
 * @param {string} sheet.title
 * @param {string} sheet.subtitle
 * @param {string[]} content
 */
export function sheet({ width, height, title, subtitle }, content) {
  const attributes = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: 'img',
    'aria-label': `${title}. ${subtitle}`,
  };
  const parts = [
    element('style', {}, STYLE),
    element('rect', { class: 'ground', width, height, rx: 6 }),
    text(16, 28, title, { class: 'title' }),
    text(16, 46, subtitle, { class: 'faint' }),
    ...content,
  ];
  return `${element('svg', attributes, `\n${parts.join('\n')}\n`)}\n`;
}
