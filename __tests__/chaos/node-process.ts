import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { soon } from '../support/waiting.js';
import { bundle } from '../support/program.js';

export interface NodeInit {
  /** 0 for any. */
  readonly port: number;
  readonly redisUrl: string;
  /** How often the router under `/passing` is replaced, in ms; never, when it is not set. */
  readonly renewMs?: number;
}

interface Told {
  readonly port?: number;
  readonly left?: readonly string[];
}

/** A process with the routers of `node.ts`. */
export class NodeProcess {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #said: () => string;

  private constructor(child: ChildProcess, port: number, said: () => string) {
    this.#child = child;
    this.port = port;
    this.#said = said;
  }

  static build(): (init: NodeInit) => Promise<NodeProcess> {
    const file = bundle('__tests__/chaos/node.ts');
    return (init) => NodeProcess.#start(file, init);
  }

  static async #start(file: string, init: NodeInit): Promise<NodeProcess> {
    const child = fork(file, [JSON.stringify(init)], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], execArgv: [] });
    let said = '';
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (text: Buffer) => (said += text.toString()));
    const crashed = once(child, 'exit').then(() => Promise.reject(new Error(`the process ended: ${said}`)));
    crashed.catch(() => undefined);
    const [{ port }] = (await soon('the process listens', Promise.race([once(child, 'message'), crashed]))) as [Told];
    return new NodeProcess(child, port!, () => said);
  }

  /** Whether it has not ended, and what it wrote if it has: an exception or a rejection that nobody handled. */
  get health(): string {
    const { exitCode, signalCode } = this.#child;
    return exitCode === null && signalCode === null ? 'alive' : `${exitCode ?? signalCode}: ${this.#said()}`;
  }

  async kill(): Promise<void> {
    if (this.health !== 'alive') return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  /** Closes all that it has open, and has it end by itself; gives the sockets and timers that are left then. */
  async end(): Promise<readonly string[]> {
    const ended = once(this.#child, 'exit');
    const told = once(this.#child, 'message') as Promise<[Told]>;
    this.#child.send('end');
    const [{ left }] = await soon('all is closed', told);
    await soon('the process has ended', ended);
    if (this.#child.exitCode !== 0) throw new Error(this.health);
    return left!;
  }
}
