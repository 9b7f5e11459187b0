import { execFile } from 'node:child_process';
import { access, chmod, constants, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
/** A mirror that does not answer must not hang the test run. */
const run = (file: string, args: readonly string[], cwd?: string) =>
  execute(file, args, { timeout: 120_000, ...(cwd !== undefined && { cwd }) });

/** Where in its package each tool is, and how it is asked for its version, to see that it starts. */
const TOOLS = {
  promtool: { path: 'usr/bin/promtool', version: '--version' },
  prometheus: { path: 'usr/bin/prometheus', version: '--version' },
  'redis-server': { path: 'usr/bin/redis-server', version: '--version' },
  nginx: { path: 'usr/sbin/nginx', version: '-v' },
  haproxy: { path: 'usr/sbin/haproxy', version: '-v' },
  // Not the script in /usr/bin: it expects the program at the path of an installed package.
  'chromium-headless-shell': { path: 'usr/lib/chromium/chromium-headless-shell', version: '--version' },
} as const;

export type DebianTool = keyof typeof TOOLS;

/**
 * The path of a tool: the one on the PATH, else the one of Debian's package, unpacked once into `.cache/debian`.
 *
 * The package is unpacked and never installed, for root as for anybody else: the maintainer scripts of `prometheus`,
 * `redis-server` and `haproxy` start a service and enable it for every boot, and a test run must leave the machine as it was. What the
 * package depends on and the machine lacks is unpacked beside it.
 *
 * Test files that run at once may ask for the same package: each unpacks into a folder of its own, and the first to move
 * it into place wins.
 *
 * @throws Error that says what is missing and how to get it, where there is no apt or no mirror.
 */
export async function ensureDebianTool(
  tool: DebianTool,
  packageName: string,
  cache = resolve('.cache/debian'),
): Promise<string> {
  const onPath = await firstExecutable((process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, tool)));
  if (onPath !== undefined) return onPath;

  const home = join(cache, packageName);
  const launcher = join(home, tool);
  if ((await firstExecutable([launcher])) !== undefined) return launcher;
  try {
    await unpack(packageName, cache, home);
    await writeLauncher(tool, home);
    await run(launcher, [TOOLS[tool].version]);
    return launcher;
  } catch (cause) {
    throw new Error(
      `${tool} is not on the PATH, and Debian's package ${packageName} could not be unpacked; install it`,
      { cause },
    );
  }
}

async function firstExecutable(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return path;
  }
  return undefined;
}

async function unpack(packageName: string, cache: string, home: string): Promise<void> {
  if ((await firstExecutable([home])) !== undefined) return;
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, `${packageName}-`));
  try {
    const root = join(work, 'root');
    for (const archive of await download(packageName, work)) await run('dpkg-deb', ['-x', join(work, archive), root]);
    // A folder that is not empty cannot be replaced, so this fails only where another process came first.
    await rename(root, home).catch(async (error: unknown) => {
      if ((await firstExecutable([home])) === undefined) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Downloads the package and what it needs that is not installed; returns the names of the archives. */
async function download(packageName: string, work: string): Promise<string[]> {
  // Lists of packages of our own, as only root may refresh the system's; what is installed, the system knows.
  await mkdir(join(work, 'lists', 'partial'), { recursive: true });
  const settings = [
    `Dir::State::lists=${join(work, 'lists')}`,
    'Dir::State::status=/var/lib/dpkg/status',
    `Dir::Cache=${work}`,
    'APT::Sandbox::User=',
  ].flatMap((setting) => ['-o', setting]);
  const apt = async (...command: string[]) => (await run('apt-get', [...settings, ...command], work)).stdout;

  await apt('update');
  const plan = await apt('install', '--simulate', '--no-install-recommends', packageName);
  const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name!);
  await apt('download', ...missing);
  return (await readdir(work)).filter((name) => name.endsWith('.deb'));
}

/**
 * A script that starts the tool with the libraries that were unpacked beside it. Some packages keep theirs in a folder of their
 * own, which an installed package names in its binaries by an absolute path (libpulse0 does).
 */
async function writeLauncher(tool: DebianTool, home: string): Promise<void> {
  const files = await readdir(home, { recursive: true });
  const folders = new Set(files.filter((name) => /\.so(\.|$)/.test(name)).map((name) => join(home, dirname(name))));
  const launcher = join(home, tool);
  await writeFile(
    `${launcher}.${process.pid}`,
    `#!/bin/sh\nLD_LIBRARY_PATH='${[...folders].join(':')}' exec '${join(home, TOOLS[tool].path)}' "$@"\n`,
  );
  await chmod(`${launcher}.${process.pid}`, 0o755);
  await rename(`${launcher}.${process.pid}`, launcher);
}
