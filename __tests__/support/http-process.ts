import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** A program of a test that serves HTTP in a process of its own. The first line that it prints is its port. */
export class HttpProcess {
  readonly child: ChildProcess;
  readonly port: number;
  /** Resolves to the code or the signal that ended it, once it has ended. */
  readonly exited: Promise<number | NodeJS.Signals>;

  private constructor(child: ChildProcess, port: number, exited: Promise<number | NodeJS.Signals>) {
    this.child = child;
    this.port = port;
    this.exited = exited;
  }

  /**
   * Its standard input is a pipe: the program is to exit when that ends, so that it does not outlive the test.
   *
   * @throws Error when it ends, or prints anything else, before its port.
   */
  static async start(file: string, args: readonly string[]): Promise<HttpProcess> {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    while (!said.includes('\n')) {
      const ended = await Promise.race([exited, once(child.stdout, 'data').then(() => undefined)]);
      if (ended !== undefined) throw new Error(`it ended with ${ended} before it listened, and said: ${said}`);
    }
    const port = Number(said.split('\n', 1)[0]);
    if (!Number.isInteger(port)) throw new Error(`not a port: ${said}`);
    return new HttpProcess(child, port, exited);
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.port}/mcp`);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }
}
