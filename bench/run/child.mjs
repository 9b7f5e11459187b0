import { fork } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Bytes from the end of a log that are printed with a failure. */
const SHOWN = 2_000;

/** Node's output around the message of a fatal error. */
const AROUND = /^\s+at |^Node\.js v|^\s*$/;

/** A child process that runs tasks on request. */
export class Child {
  #process;
  #log;
  #next = 0;
  #waiting = new Map();
  #ended;

  /**
   * @param {URL} module
   * @param {{ args?: string[], execArgv?: string[], log: string }} options `log`: the file for its output.
   */
  constructor(module, { args = [], execArgv = [], log }) {
    this.#log = log;
    const fd = openSync(log, 'w');
    this.#process = fork(module, args, { execArgv, stdio: ['ignore', fd, fd, 'ipc'] });
    closeSync(fd);
    this.#process.on('message', (message) => this.#take(message));
    this.#process.on('error', (error) => this.#fail(error));
    this.#ended = new Promise((resolve) => this.#process.once('exit', resolve));
    void this.#ended.then((code) => this.#fail(new Error(`the process ended with ${code}: ${this.#lastLines()}`)));
  }

  /**
   * @param {string} task
   * @param {unknown} [input]
   * @param {number} [timeoutMs]
   * @returns {Promise<any>}
   */
  ask(task, input, timeoutMs = 60_000) {
    return new Promise((resolve, reject) => {
      const number = this.#next++;
      const late = () => this.#settle(number, () => reject(new Error(`${task}: no end after ${timeoutMs / 1000} s`)));
      this.#waiting.set(number, { resolve, reject, timer: setTimeout(late, timeoutMs) });
      if (this.#process.connected) this.#process.send({ number, task, input });
      else this.#fail(new Error(`the process has ended: ${this.#lastLines()}`));
    });
  }

  /** Resolves when the process is ready for tasks. */
  ready(timeoutMs = 30_000) {
    return new Promise((resolve, reject) => {
      const late = () => this.#settle('ready', () => reject(new Error('does not start')));
      this.#waiting.set('ready', { resolve, reject, timer: setTimeout(late, timeoutMs) });
    });
  }

  /** Asks the process to exit, so that it writes its profile, and kills it after a time-out. */
  async end() {
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 10_000);
    await this.#ended;
    clearTimeout(timer);
  }

  #take({ ready, number, result, error }) {
    if (ready) this.#settle('ready', ({ resolve }) => resolve());
    else
      this.#settle(number, ({ resolve, reject }) => (error === undefined ? resolve(result) : reject(new Error(error))));
  }

  #settle(number, how) {
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) return;
    this.#waiting.delete(number);
    clearTimeout(waiting.timer);
    how(waiting);
  }

  #fail(error) {
    for (const number of [...this.#waiting.keys()]) this.#settle(number, ({ reject }) => reject(error));
  }

  #lastLines() {
    // Reads only the end: some logs have gigabytes.
    const bytes = Buffer.alloc(SHOWN);
    const fd = openSync(this.#log, 'r');
    const read = readSync(fd, bytes, 0, SHOWN, Math.max(0, fstatSync(fd).size - SHOWN));
    closeSync(fd);
    const lines = bytes.toString('utf8', 0, read).split('\n');
    return (
      lines
        .filter((line) => !AROUND.test(line))
        .slice(-5)
        .join(' | ') || 'it wrote nothing'
    );
  }
}
