import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { APP, bundle, STANDALONE } from '../support/program.js';

export type LogLine = Readonly<Record<string, unknown>>;

/** The example app as a process of its own, as `npm start` runs it. */
export class AppProcess {
  readonly child: ChildProcess;
  /** Settles with all that it said when it has ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>;
  readonly #written = { stdout: '', stderr: '' };

  constructor(
    main: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    stdio: StdioOptions = 'pipe',
  ) {
    const child = spawn(process.execPath, [main, ...args], { env: { PATH: process.env.PATH, ...env }, stdio });
    const written = this.#written;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (written.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (written.stderr += text));
    this.child = child;
    this.exited = once(child, 'close').then(([code, signal]: unknown[]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      ...written,
    }));
  }

  /** What it has logged so far. */
  lines(): LogLine[] {
    return this.#written.stdout
      .split('\n')
      .filter((text) => text.endsWith('}'))
      .map((text) => JSON.parse(text) as LogLine);
  }

  /** The first line with a message; rejects when the process ends without it. */
  async line(message: string): Promise<LogLine> {
    for (;;) {
      const found = this.lines().find(({ msg }) => msg === message);
      if (found !== undefined) return found;
      await Promise.race([
        once(this.child.stdout!, 'data'),
        this.exited.then((end) => Promise.reject(new Error(JSON.stringify(end)))),
      ]);
    }
  }

  /** Where it listens, once it does. */
  async url(): Promise<string> {
    return (await this.line('listening')).url as string;
  }
}

/** Bundles the app, and starts it as often as a test wants; what a test leaves running ends with `killAll`. */
export class AppProcesses {
  #main = '';
  readonly #started = new Set<AppProcess>();

  build(): void {
    this.#main = bundle('example-app/src/main.ts', {
      ...STANDALONE,
      ...APP,
      // It finds its binary beside itself.
      external: ['classic-level'],
    });
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}, stdio?: StdioOptions): AppProcess {
    const app = new AppProcess(this.#main, args, env, stdio);
    this.#started.add(app);
    return app;
  }

  async killAll(): Promise<void> {
    for (const { child } of this.#started) child.kill('SIGKILL');
    await Promise.all([...this.#started].map(({ exited }) => exited));
    this.#started.clear();
  }
}
