/** A fake clock for the router. Setting it runs the due timers, in order. */
export class SetClock {
  #now = 0;
  #timers = new Map();
  #next = 1;

  now = () => this.#now;

  setTimeout = (callback, ms) => {
    const timer = this.#next++;
    this.#timers.set(timer, { callback, at: this.#now + ms });
    return timer;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /**
   * @param {number} time
   * @returns {number} How many timers ran.
   */
  set(time) {
    this.#now = time;
    const due = [...this.#timers].filter(([, { at }]) => at <= time).sort(([, a], [, b]) => a.at - b.at);
    for (const [timer, { callback }] of due) {
      this.#timers.delete(timer);
      callback();
    }
    return due.length;
  }
}
