/**
 * The outcome of one entry in one workload.
 *
 * @typedef {object} Outcome Of one entry in one work.
 * @property {import('../works/work.mjs').Sample[]} samples By round.
 * @property {string} [failure] Why there are no more samples.
 */

/** The outcomes of all entries in all workloads. They can be saved and loaded as JSON. */
export class Results {
  /** @type {Record<string, Record<string, Outcome>>} By work, then by entry. */
  outcomes;

  constructor(outcomes = {}) {
    this.outcomes = outcomes;
  }

  /**
   * @param {string} work
   * @param {string} entry
   * @returns {Outcome | undefined}
   */
  get(work, entry) {
    return this.outcomes[work]?.[entry];
  }

  /**
   * @param {string} work
   * @param {string} entry
   * @returns {Outcome}
   */
  of(work, entry) {
    const outcomes = (this.outcomes[work] ??= {});
    return (outcomes[entry] ??= { samples: [] });
  }
}
