import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A file of the page. */
export interface Asset {
  readonly type: string;
  readonly text: string;
}

const read = (name: string): string => readFileSync(join(__dirname, 'page', name), 'utf8');

/**
 * The files of the page, by path.
 *
 * `scripts/build.mjs` writes the same map with the texts in it into the package: an ES module and a CommonJS module have no common way to
 * find a file beside them, and an app may be bundled.
 */
export const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ['/', { type: 'text/html', text: read('index.html') }],
  ['/app.js', { type: 'text/javascript', text: read('app.js') }],
  ['/style.css', { type: 'text/css', text: read('style.css') }],
]);
