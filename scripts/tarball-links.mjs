// Finds broken links in the packed documents. npm shows the README, and editors and agents read the rest in node_modules.
import { posix } from 'node:path';

/** Links and images: inline Markdown, Markdown by reference, and HTML. */
const LINKS = [/\]\(([^)\s]+)(?:\s[^)]*)?\)/g, /^\[[^\]]+\]:\s*(\S+)/gm, /(?:href|src)="([^"]+)"/g];

const withoutFences = (text) => text.replace(/^[ \t]*```[\s\S]*?^[ \t]*```/gm, '');
const withoutCode = (text) => withoutFences(text).replace(/`[^`\n]*`/g, '');

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(text) {
  const headings = [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/**
 * @param files - Paths in the package.
 * @param read - Gives the text of one of them.
 * @returns the broken links, as `document: link`.
 */
export function brokenLinks(files, read) {
  const documents = files.filter((path) => path.endsWith('.md'));
  return documents.flatMap((document) => {
    const text = withoutCode(read(document));
    const links = LINKS.flatMap((pattern) => [...text.matchAll(pattern)].map(([, link]) => link));
    return links
      .filter((link) => !/^[a-z]+:/i.test(link))
      .filter((link) => isBroken(document, link, files, read))
      .map((link) => `${document}: ${link}`);
  });
}

function isBroken(document, link, files, read) {
  const [path, anchor] = link.split('#');
  const target = path === '' ? document : posix.join(posix.dirname(document), path);
  if (!files.includes(target)) return true;
  return anchor !== undefined && target.endsWith('.md') && !anchorsOf(read(target)).includes(anchor);
}
