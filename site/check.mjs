// Checks the built pages for what VitePress does not: links to anchors, and files that a browser would get from another host.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const attributes = (html, pattern) => [...html.matchAll(pattern)].map(([, value]) => value.replaceAll('&amp;', '&'));

const isMissing = (link, page, anchors, base) => {
  const { pathname, hash } = new URL(link, `http://site${base}${page}`);
  const file = decodeURI(pathname.slice(base.length)).replace(/(^|\/)$/, '$1index.html');
  return hash !== '' && !anchors.get(file)?.has(decodeURIComponent(hash.slice(1)));
};

/** @returns what is wrong, as `page: link`. */
export function problemsOf(folder, base) {
  const pages = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith('.html'));
  const texts = new Map(pages.map((page) => [page, readFileSync(join(folder, page), 'utf8')]));
  const anchors = new Map([...texts].map(([page, html]) => [page, new Set(attributes(html, /\sid="([^"]*)"/g))]));
  return [...texts].flatMap(([page, html]) => {
    const links = attributes(html, /<a\s[^>]*href="([^"]*)"/g).filter((link) => !/^[a-z]+:/.test(link));
    const loaded = attributes(html, /<(?:script|img|link)\s[^>]*(?:src|href)="([^"]*)"/g);
    return [
      ...links.filter((link) => isMissing(link, page, anchors, base)),
      ...loaded.filter((link) => /^([a-z]+:)?\/\//.test(link)),
    ].map((link) => `${page}: ${link}`);
  });
}
