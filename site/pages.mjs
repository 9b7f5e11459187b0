// The pages of the site: Markdown files of the repository, by their paths from its root.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const read = (file) => readFileSync(join(ROOT, file), 'utf8');

export const PACKAGE = JSON.parse(read('package.json'));

const GROUPS = JSON.parse(read('site/sidebar.json'));
const PAGES = new Set(GROUPS.flatMap(({ pages }) => pages));

export const isPage = (file) => PAGES.has(file);

/** The file in whose place the site has a page. A folder's README.md is the page of the folder. */
export const placeOf = (file) => file.replace(/^site\//, '').replace(/(^|\/)README\.md$/, '$1index.md');

const titleOf = (file) => /^# (.+)$/m.exec(read(file))[1];

/** The sidebar of VitePress: each page has its own heading as its title. */
export const sidebar = () =>
  GROUPS.map(({ text, pages }) => ({
    text,
    items: pages.map((file) => ({ text: titleOf(file), link: `/${placeOf(file)}` })),
  }));
