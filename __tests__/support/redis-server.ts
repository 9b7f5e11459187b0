import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianTool } from './debian.js';
import { until } from './waiting.js';
import { killWithThisProcess } from './watchdog.js';
import { freePort } from './free-port.js';

export interface RedisServerInit {
  /** Writes every command to the disk before it answers, so that a restart after a kill finds all of it. Default: keeps nothing. */
  readonly appendOnly?: boolean;
  /** A cluster of this one node, which holds all slots. Default: no cluster. */
  readonly cluster?: boolean;
  /** Variables of its environment. Default: those of this process. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A `redis-server` of a test's own: that of the PATH, else of Debian's package. It ends with the test's process at the latest. */
export class RedisServer {
  readonly port: number;
  readonly url: string;
  readonly #folder: string;
  readonly #args: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  #process!: ChildProcess;
  #exited!: Promise<unknown>;

  static async start(init: RedisServerInit = {}): Promise<RedisServer> {
    const folder = await mkdtemp(join(tmpdir(), 'redis-'));
    for (let tries = 5; ; tries -= 1) {
      const server = new RedisServer(folder, init, await freePort(), await freePort());
      try {
        await server.#start();
        if (init.cluster === true) await server.#holdAllSlots();
        return server;
      } catch (error) {
        // Another process may have taken one of the ports meanwhile.
        await server.kill();
        if (tries === 1) throw error;
      }
    }
  }

  private constructor(
    folder: string,
    { appendOnly = false, cluster = false, env = process.env }: RedisServerInit,
    port: number,
    bus: number,
  ) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#folder = folder;
    this.#env = env;
    this.#args = [
      ...['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', ''],
      ...['--appendonly', appendOnly ? 'yes' : 'no', '--appendfsync', 'always'],
      ...(cluster ? ['--cluster-enabled', 'yes', '--cluster-port', String(bus)] : []),
    ];
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Ends it by SIGKILL, as a crash would; also while it is paused. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  /** Starts it again, on the same port and with the same folder, ended or not. */
  async restart(): Promise<void> {
    await this.kill();
    await this.#start();
  }

  /** It keeps its connections and accepts more, and answers nothing. */
  pause(): void {
    this.#process.kill('SIGSTOP');
  }

  resume(): void {
    this.#process.kill('SIGCONT');
  }

  async #start(): Promise<void> {
    const path = await ensureDebianTool('redis-server', 'redis-server');
    const server = spawn(path, this.#args, { stdio: ['ignore', 'pipe', 'pipe'], env: this.#env });
    let said = '';
    server.stdout.on('data', (text: Buffer) => (said += text.toString()));
    server.stderr.on('data', (text: Buffer) => (said += text.toString()));
    this.#process = server;
    this.#exited = once(server, 'exit').then(killWithThisProcess(server.pid!, this.#folder));
    await until('redis-server answers PING', async () => {
      if (server.exitCode !== null || server.signalCode !== null) throw new Error(`redis-server ended: ${said}`);
      // Its process ID, as another server on the port would answer too.
      const answer = await this.#ask('PING', 'INFO server').catch(() => '');
      return answer.startsWith('+PONG') && answer.includes(`process_id:${server.pid!}\r\n`);
    });
  }

  async #holdAllSlots(): Promise<void> {
    await this.#ask('CLUSTER ADDSLOTSRANGE 0 16383');
    await until('the cluster is up', async () => (await this.#ask('CLUSTER INFO')).includes('cluster_state:ok'));
  }

  /** What Redis answers, on a connection for this alone. */
  async #ask(...commands: string[]): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (data) => (answer += data.toString()));
    socket.write([...commands, 'QUIT', ''].join('\r\n'));
    await once(socket, 'close');
    return answer;
  }
}
