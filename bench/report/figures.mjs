/**
 * @typedef {object} Spread Of a number over the rounds.
 * @property {number} median
 * @property {number} min
 * @property {number} max
 */

/**
 * @param {readonly number[]} values
 * @returns {Spread | undefined} Undefined when there are none.
 */
export function spread(values) {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1) };
}

/** The figures of a run. A ratio always compares two figures of the same round. */
export class Figures {
  #results;

  /** @param {import('../run/results.mjs').Results} results */
  constructor(results) {
    this.#results = results;
  }

  /**
   * @param {string} work
   * @param {string} entry
   * @param {string} metric
   * @returns {number[]} By round; empty when the entry did not take part.
   */
  values(work, entry, metric) {
    const samples = this.#results.get(work, entry)?.samples ?? [];
    // A record that is older than the metric has samples without it.
    return samples.map((sample) => sample[metric]).filter((value) => value !== undefined);
  }

  /** @returns {number[]} By round, as long as both took part. */
  ratios(work, entry, base, metric) {
    return this.#together(this.values(work, entry, metric), this.values(work, base, metric), (a, b) => a / b);
  }

  /** @returns {number[]} By round, as long as both took part. */
  differences(work, entry, base, metric) {
    return this.#together(this.values(work, entry, metric), this.values(work, base, metric), (a, b) => a - b);
  }

  /** Why an entry has no more samples; undefined when it completed all rounds. */
  failure(work, entry) {
    return this.#results.get(work, entry)?.failure;
  }

  /** Whether an entry has samples. */
  has(work, entry) {
    return this.#results.get(work, entry) !== undefined;
  }

  #together(some, others, combine) {
    const rounds = Math.min(some.length, others.length);
    return some.slice(0, rounds).map((value, round) => combine(value, others[round]));
  }
}
