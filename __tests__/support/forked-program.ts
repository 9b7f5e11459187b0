import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { soon } from './waiting.js';
import { killWithThisProcess } from './watchdog.js';

/** A program of the tests in a process of its own, which ends with this one. It sends a message once it listens. */
export class ForkedProgram {
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
  #said = '';

  /** Resolves with what the program's first message says. Rejects if the program ends before. */
  static async start(file: string, args: readonly string[] = [], env = process.env): Promise<[ForkedProgram, unknown]> {
    const program = new ForkedProgram(file, args, env);
    const crashed = program.exited.then(() => Promise.reject(new Error(`the program ended: ${program.health}`)));
    crashed.catch(() => undefined);
    try {
      const [told] = (await soon('it listens', Promise.race([once(program.child, 'message'), crashed]))) as [unknown];
      return [program, told];
    } catch (error) {
      await program.kill();
      throw error;
    }
  }

  private constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = fork(file, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], execArgv: [], env });
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.on('data', (text: Buffer) => (this.#said += text.toString()));
    this.exited = once(this.child, 'exit').then(killWithThisProcess(this.child.pid!));
  }

  /** What it has written so far. */
  get said(): string {
    return this.#said;
  }

  /** Whether it has not ended, and what it wrote if it has: an exception or a rejection that was not handled. */
  get health(): string {
    const { exitCode, signalCode } = this.child;
    return exitCode === null && signalCode === null ? 'alive' : `${exitCode ?? signalCode}: ${this.#said}`;
  }

  /** Ends it by SIGKILL, also while it is stopped. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }
}
