import { join } from 'node:path';
import { Child } from './child.mjs';
import { processOf } from './schedule.mjs';

const HOST = new URL('../host/main.mjs', import.meta.url);
const LOAD = new URL('../load/main.mjs', import.meta.url);

/** Makes the measurements one at a time, so that they do not disturb each other. */
export class Runner {
  #sizes;
  #directory;
  #results;
  #profile;
  #host;
  #hostOf;
  #load;

  /**
   * @param {import('../sizes.mjs').Sizes} sizes
   * @param {string} directory For the output of the processes.
   * @param {import('./results.mjs').Results} results Gets the outcomes.
   * @param {boolean} profile Whether a CPU profile of each contender's process is written too.
   */
  constructor(sizes, directory, results, profile) {
    this.#sizes = sizes;
    this.#directory = directory;
    this.#results = results;
    this.#profile = profile;
  }

  /**
   * Makes one measurement. A failure is recorded as its outcome, and is not retried.
   *
   * @param {import('./schedule.mjs').Step} step
   * @returns {Promise<import('./results.mjs').Outcome>}
   */
  async measure(step) {
    const outcome = this.#results.of(step.work.name, step.entry.name);
    if (outcome.failure !== undefined) return outcome;
    try {
      await this.#prepare(step);
      const { work, entry } = step;
      outcome.samples.push(await work.run({ host: this.#host, load: this.#load, sizes: this.#sizes, entry }));
    } catch (error) {
      outcome.failure = error.message;
    }
    if (!this.#sizes.reuse || outcome.failure !== undefined) await this.end();
    return outcome;
  }

  async end() {
    await Promise.all([this.#host?.end(), this.#load?.end()]);
    this.#host = undefined;
    this.#load = undefined;
  }

  async #prepare(step) {
    if (this.#hostOf !== processOf(step)) await this.end();
    this.#hostOf = processOf(step);
    if (this.#load === undefined) {
      this.#load = new Child(LOAD, { log: join(this.#directory, 'load.log') });
      await this.#load.ready();
    }
    if (this.#host === undefined) await this.#start(step);
    // The SDK's servers alone do not listen.
    const url = await this.#host.ask('url');
    if (url !== undefined) await this.#load.ask('target', url);
  }

  #profiling(work, entry) {
    const name = `${work.name}.${entry.name.replaceAll(/\W+/g, '-')}.cpuprofile`;
    return ['--cpu-prof', `--cpu-prof-dir=${this.#directory}`, `--cpu-prof-name=${name}`, '--cpu-prof-interval=200'];
  }

  async #start({ work, entry }) {
    const { contender, settings } = entry;
    const options = { ...contender.options, ...settings };
    this.#host = new Child(HOST, {
      args: [JSON.stringify({ module: contender.module, options })],
      execArgv: ['--expose-gc', ...(contender.node ?? []), ...(this.#profile ? this.#profiling(work, entry) : [])],
      log: join(this.#directory, `${contender.name}.log`),
    });
    await this.#host.ready(contender.starting);
  }
}
