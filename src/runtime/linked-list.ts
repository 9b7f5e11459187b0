/** An item of a {@link LinkedList}. It is in one list at a time, and has the links itself. */
export interface Linked<T extends Linked<T>> {
  list: LinkedList<T> | undefined;
  before: T | undefined;
  after: T | undefined;
}

/**
 * A list in which adding an item and removing any item take one step, and allocate nothing.
 *
 * Not a `Map` or `Set`: V8 would rebuild its table all the time, as each request is in it only for a moment. A discarded table
 * delays the garbage collection of its items: the request, the response and their buffers. Here, the links of a removed item are
 * cleared.
 */
export class LinkedList<T extends Linked<T>> {
  #first: T | undefined;
  #last: T | undefined;

  get first(): T | undefined {
    return this.#first;
  }

  get last(): T | undefined {
    return this.#last;
  }

  /** Adds an item at the end. Removes it first from the list that it is in, if any. */
  append(item: T): void {
    item.list?.delete(item);
    item.list = this;
    item.before = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.after = item;
    this.#last = item;
  }

  /** @param item - Must be in this list. */
  delete(item: T): void {
    if (item.before === undefined) this.#first = item.after;
    else item.before.after = item.after;
    if (item.after === undefined) this.#last = item.before;
    else item.after.before = item.before;
    item.list = item.before = item.after = undefined;
  }
}
