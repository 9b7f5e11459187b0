// Checks that each package which an app installs with this one has a license that asks for no more than a notice.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const PERMISSIVE = new Set([
  'MIT',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  '0BSD',
  'BlueOak-1.0.0',
  'Unlicense',
  'CC0-1.0',
]);

/** A choice of licenses is permissive if one of them is; a conjunction if all are (SPDX 2.3, annex D). */
export function isPermissive(license) {
  if (typeof license !== 'string') return false;
  const bare = license.replace(/^\((.*)\)$/, '$1');
  if (bare.includes(' OR ')) return bare.split(' OR ').some(isPermissive);
  return bare.split(' AND ').every((one) => PERMISSIVE.has(one));
}

/** The folder of a package, as Node finds it from another one. */
function folderOf(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const found = join(folder, 'node_modules', name);
    if (existsSync(join(found, 'package.json'))) return found;
    if (folder === dirname(folder)) return undefined;
  }
}

/**
 * The runtime dependencies of the package in a folder, with those of their own, each with its license.
 *
 * @returns A map of `name@version` to the license that its package.json names.
 */
export function licensesOf(folder) {
  const found = new Map();
  const visit = (from) => {
    const { dependencies = {} } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
    for (const name of Object.keys(dependencies)) {
      const place = folderOf(name, from);
      if (place === undefined) throw new Error(`${name} is not installed`);
      const { version, license } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'));
      if (found.has(`${name}@${version}`)) continue;
      found.set(`${name}@${version}`, license);
      visit(place);
    }
  };
  visit(folder);
  return found;
}

/** @throws Error when a runtime dependency has no permissive license. */
export function checkLicenses(folder) {
  const licenses = licensesOf(folder);
  const others = [...licenses].filter(([, license]) => !isPermissive(license));
  if (others.length > 0) {
    throw new Error(`licenses to look at: ${others.map(([name, license]) => `${name} (${license})`).join(', ')}`);
  }
  return licenses.size;
}
