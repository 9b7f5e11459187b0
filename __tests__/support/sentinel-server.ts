import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from 'redis';
import { ensureDebianTool } from './debian.js';
import { freePort } from './free-port.js';
import { until } from './waiting.js';
import { killWithThisProcess } from './watchdog.js';

/** How long a master must be silent until Sentinel promotes a replica, in ms. */
const DOWN_AFTER = 1_000;

/** A Redis Sentinel for one test. Its vote alone makes a fail-over. It watches one master under the name `main`. */
export class SentinelServer {
  readonly port: number;
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #disarm: () => void;

  private constructor(port: number, folder: string, process: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#process = process;
    this.#disarm = killWithThisProcess(process.pid!, folder);
  }

  /** @param master - The port of the master. Sentinel finds the replicas that it has by now, and later ones after ten seconds. */
  static async start(master: number): Promise<SentinelServer> {
    const folder = await mkdtemp(join(tmpdir(), 'sentinel-'));
    const port = await freePort();
    const file = join(folder, 'sentinel.conf');
    const lines = [
      ...[`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, `sentinel monitor main 127.0.0.1 ${master} 1`],
      ...[`sentinel down-after-milliseconds main ${DOWN_AFTER}`, 'sentinel failover-timeout main 5000', ''],
    ];
    await writeFile(file, lines.join('\n'));
    const program = await ensureDebianTool('redis-server', 'redis-server');
    const server = new SentinelServer(port, folder, spawn(program, [file, '--sentinel'], { stdio: 'ignore' }));
    await until('Sentinel answers', () =>
      server
        .ask('PING')
        .then(String, () => undefined)
        .then((pong) => pong === 'PONG'),
    );
    return server;
  }

  /** What Sentinel answers, on a connection for this alone. */
  async ask(...command: string[]): Promise<unknown> {
    const client = createClient({ url: `redis://127.0.0.1:${this.port}`, socket: { reconnectStrategy: false } });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return await client.sendCommand(command);
    } finally {
      client.destroy();
    }
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
    this.#disarm();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
