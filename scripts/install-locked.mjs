// Installs the dependencies of a package inside this repository, when its lock file has changed since the last time.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Install scripts are not run: they compile or download parts that nothing here uses.
 *
 * @param folder - Has a package.json and a package-lock.json.
 * @param flags - More flags for `npm ci`.
 */
export function installLocked(folder, ...flags) {
  const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8');
  const installed = join(folder, 'node_modules/.installed-lock.json');
  if (existsSync(installed) && readFileSync(installed, 'utf8') === lock) return;
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['ci', '--ignore-scripts', ...quiet, ...flags], {
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  writeFileSync(installed, lock);
}
