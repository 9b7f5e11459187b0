// Prepares a release: `npm run release -- 1.2.0`. It changes CHANGELOG.md and the version, commits and tags, and publishes nothing.
// With `--dry-run` it changes nothing, and says what it would do. CONTRIBUTING.md describes the steps.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const UNRELEASED = '## [Unreleased]';

const run = (file, ...args) => execFileSync(file, args, { stdio: 'inherit' });
const read = (file, ...args) => execFileSync(file, args, { encoding: 'utf8' }).trim();

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** The changelog with the unreleased changes under the new version. */
function released(changelog, version, date) {
  const start = changelog.indexOf(UNRELEASED);
  if (start < 0) fail(`CHANGELOG.md has no ${UNRELEASED}`);
  const rest = changelog.slice(start + UNRELEASED.length);
  const [changes] = rest.split(/\n## /);
  if (changes.trim() === '') fail('CHANGELOG.md has no unreleased change');
  return `${changelog.slice(0, start)}${UNRELEASED}\n\n## [${version}] - ${date}${rest}`;
}

const [version] = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const isDryRun = process.argv.includes('--dry-run');
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version ?? '')) fail('Usage: npm run release -- 1.2.0 [--dry-run]');
if (read('git', 'status', '--porcelain') !== '' && !isDryRun) fail('The working tree has changes: commit them first.');
if (read('git', 'tag', '--list', `v${version}`) !== '') fail(`There is a tag v${version} already.`);

const changelog = released(readFileSync('CHANGELOG.md', 'utf8'), version, new Date().toISOString().slice(0, 10));
if (isDryRun) {
  console.log(
    `Would test, set the version ${version}, move the unreleased changes under it, commit, and tag v${version}.`,
  );
  process.exit(0);
}

run('npm', 'test');
writeFileSync('CHANGELOG.md', changelog);
run('npm', 'version', version, '--no-git-tag-version', '--silent');
run('npm', 'publish', '--dry-run');
run(
  'git',
  'commit',
  '--quiet',
  '--message',
  `release: publish ${version}`,
  'CHANGELOG.md',
  'package.json',
  'package-lock.json',
);
run('git', 'tag', '--annotate', `v${version}`, '--message', `v${version}`);
console.log(`Ready. Look at the last commit, then: git push --follow-tags && npm publish --provenance`);
