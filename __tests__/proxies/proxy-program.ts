import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianTool } from '../support/debian.js';
import { freePort } from '../support/free-port.js';
import { until } from '../support/waiting.js';
import { killWithThisProcess } from '../support/watchdog.js';

export type ProxyName = 'nginx' | 'haproxy';

/** The configuration on the page, after its marker. */
export function configurationOf(name: ProxyName): string {
  const page = readFileSync('docs/proxies.md', 'utf8');
  const [, code] = /```text\n([\s\S]*?)```/.exec(page.slice(page.indexOf(`<!-- run: ${name} -->`))) ?? [];
  if (code === undefined) throw new Error(`docs/proxies.md has no configuration of ${name}`);
  return code;
}

/** The file for the program, with free ports in place of those of the page. */
function fileFor(name: ProxyName, configuration: string, folder: string, port: number, appPort: number): string {
  const local = configuration.replaceAll('127.0.0.1:3000', `127.0.0.1:${appPort}`);
  if (name === 'haproxy') return local.replace('bind :80', `bind 127.0.0.1:${port}`);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(folder, kind)};`,
  );
  return `
daemon off;
pid ${join(folder, 'pid')};
error_log stderr warn;
${process.getuid?.() === 0 ? 'user root;' : ''}
events {}
http {
  access_log off;
  ${paths.join('\n  ')}
  ${local.replace('listen 80', `listen 127.0.0.1:${port}`)}
}
`;
}

/** A reverse proxy of Debian in a process of its own, before an app of the test. */
export class ProxyProgram {
  readonly port: number;
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(port: number, folder: string, program: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#process = program;
    this.#exited = once(program, 'exit').then(killWithThisProcess(program.pid!, folder));
  }

  static async start(name: ProxyName, appPort: number, configuration = configurationOf(name)): Promise<ProxyProgram> {
    const path = await ensureDebianTool(name, name);
    const folder = await mkdtemp(join(tmpdir(), `${name}-`));
    const port = await freePort();
    const file = join(folder, 'proxy.conf');
    await writeFile(file, fileFor(name, configuration, folder, port, appPort));
    const args = name === 'nginx' ? ['-e', 'stderr', '-p', folder, '-c', file] : ['-db', '-f', file];
    const program = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [program.stdout, program.stderr]) stream.on('data', (text: Buffer) => (said += String(text)));
    const proxy = new ProxyProgram(port, folder, program);
    await until(`${name} listens`, () => {
      if (program.exitCode !== null) throw new Error(`${name} ended: ${said}`);
      return proxy.#accepts();
    });
    return proxy;
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGTERM');
    await this.#exited;
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #accepts(): Promise<boolean> {
    const socket = connect(this.port, '127.0.0.1');
    const connected = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    return connected;
  }
}
