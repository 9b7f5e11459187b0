/** An item that knows its index in a {@link Heap}, so that it can be removed from any place. */
export interface Slotted {
  /** The index. -1 while the item is in no heap. */
  slot: number;
}

/** A binary heap. Adding an item and removing any item take O(log n) steps. */
export class Heap<T extends Slotted> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  /** @param isBefore - A strict weak order. */
  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  /** @param item - Must be in no heap. */
  add(item: T): void {
    this.#rise(item, this.#items.length);
  }

  /** @param item - Must be in this heap. */
  delete(item: T): void {
    const { slot } = item;
    item.slot = -1;
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    this.#rise(last, slot);
    if (last.slot === slot) this.#sink(last, slot);
  }

  #rise(item: T, from: number): void {
    let slot = from;
    while (slot > 0) {
      const above = (slot - 1) >> 1;
      const parent = this.#items[above] as T;
      if (!this.#isBefore(item, parent)) break;
      this.#put(parent, slot);
      slot = above;
    }
    this.#put(item, slot);
  }

  #sink(item: T, from: number): void {
    let slot = from;
    for (;;) {
      const child = this.#firstChild(slot);
      if (child === undefined || !this.#isBefore(child, item)) break;
      const below = child.slot;
      this.#put(child, slot);
      slot = below;
    }
    this.#put(item, slot);
  }

  #firstChild(slot: number): T | undefined {
    const left = this.#items[2 * slot + 1];
    const right = this.#items[2 * slot + 2];
    if (left === undefined || right === undefined) return left;
    return this.#isBefore(right, left) ? right : left;
  }

  #put(item: T, slot: number): void {
    this.#items[slot] = item;
    item.slot = slot;
  }
}
