// Links of the pages, which lead to files of the repository so that they work there too.
import { existsSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { isPage, PACKAGE, placeOf, ROOT } from './pages.mjs';

/** The address of the repository in the browser. Undefined as long as package.json names none. */
export const REPOSITORY = (PACKAGE.repository?.url ?? PACKAGE.repository)?.replace(/^git\+|\.git$/g, '');

/** Where a link leads on the site: to a page, else into the repository. Undefined when that has no address. */
function targetOf(link, page) {
  const [, path, anchor] = /^([^#]*)(.*)$/.exec(link);
  if (path === '' || /^[a-z]+:/i.test(path)) return link;
  const file = posix.join(posix.dirname(page), path);
  if (!existsSync(join(ROOT, file))) throw new Error(`${page} links to ${link}, which is not there`);
  if (isPage(file)) return `/${placeOf(file)}${anchor}`;
  return REPOSITORY && `${REPOSITORY}/blob/HEAD/${file}${anchor}`;
}

/** A plugin of markdown-it. A link without a target becomes its text. */
export function siteLinks(md) {
  md.core.ruler.push('site-links', ({ tokens, env }) => {
    const page = relative(ROOT, env.realPath ?? env.path);
    for (const { children } of tokens.filter(({ type }) => type === 'inline')) {
      const ends = children.filter(({ type }) => type === 'link_close');
      for (const start of children.filter(({ type }) => type === 'link_open')) {
        const end = ends.shift();
        const target = targetOf(start.attrGet('href'), page);
        if (target !== undefined) start.attrSet('href', target);
        else {
          start.attrs = null;
          start.hidden = end.hidden = true;
        }
      }
    }
  });
}
