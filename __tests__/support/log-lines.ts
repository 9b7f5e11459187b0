import { EventEmitter, once } from 'node:events';
import type { DestinationStream } from 'pino';

type LogLine = Readonly<Record<string, unknown>>;

/** What a pino logger wrote. */
export class LogLines implements DestinationStream {
  readonly #written = new EventEmitter();
  /** As it was written, each line with its end. */
  text = '';

  write(line: string): void {
    this.text += line;
    this.#written.emit('line');
  }

  get all(): LogLine[] {
    return this.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** All lines, once there are as many as that. */
  async atLeast(count: number): Promise<LogLine[]> {
    while (this.all.length < count) await once(this.#written, 'line');
    return this.all;
  }
}
