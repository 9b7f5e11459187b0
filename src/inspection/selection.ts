/**
 * Keeps the first of many items in an order. Most items are dropped as soon as they come, while a sort of all would keep all in
 * memory until the end: with 10,000 items, the garbage collector then took most of the time.
 */
export class Selection<Item> {
  readonly #size: number;
  readonly #compare: (a: Item, b: Item) => number;
  readonly #items: Item[] = [];
  /** The last item that is kept. Undefined while fewer than `size` have come. */
  #last: Item | undefined;

  /** @param size - How many items are kept. At least 1. */
  constructor(size: number, compare: (a: Item, b: Item) => number) {
    this.#size = size;
    this.#compare = compare;
  }

  add(item: Item): void {
    if (this.#last !== undefined && this.#compare(item, this.#last) >= 0) return;
    this.#items.push(item);
    if (this.#items.length < 2 * this.#size) return;
    this.#cut();
    this.#last = this.#items.at(-1);
  }

  /** The items in their order. Of equal ones, the first that came is the first. */
  items(): readonly Item[] {
    this.#cut();
    return this.#items;
  }

  #cut(): void {
    this.#items.sort(this.#compare).splice(this.#size);
  }
}
