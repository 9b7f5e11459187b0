import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** The wall clock of a program that is started with its variables. Needs a C compiler, as `cc`. */
export class SteppedClock {
  /** For the environment of the program. */
  readonly env: NodeJS.ProcessEnv;
  readonly #folder: string;
  readonly #file: string;
  #offset = 0;

  private constructor(folder: string, library: string) {
    this.#folder = folder;
    this.#file = join(folder, 'offset');
    this.env = { ...process.env, LD_PRELOAD: library, STEPPED_CLOCK: this.#file };
    writeFileSync(this.#file, Buffer.alloc(8));
  }

  static async build(): Promise<SteppedClock> {
    const folder = mkdtempSync(join(tmpdir(), 'stepped-clock-'));
    const library = join(folder, 'stepped-clock.so');
    await execute('cc', ['-shared', '-fPIC', '-O1', '-o', library, '__tests__/support/stepped-clock.c']);
    return new SteppedClock(folder, library);
  }

  /** Whether a time in ms since 1970 is of this clock, to a few seconds. */
  shows(time: number): boolean {
    return Math.abs(time - Date.now() - 1_000 * this.#offset) < 5_000;
  }

  /** @param seconds - How far it is from the real clock from now on. */
  stepTo(seconds: number): void {
    this.#offset = seconds;
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    // In place: the program has mapped this very file into its memory.
    writeFileSync(this.#file, bytes, { flag: 'r+' });
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
