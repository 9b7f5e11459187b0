/**
 * Keeps the first of many items in an order. Most others are dropped as soon as they come. A sort of all items would keep all of
 * them in memory until its end: with 10,000 items, half of the time went to the garbage collector.
 */
export class Selection<Item> {
  readonly #size: number;
  readonly #compare: (a: Item, b: Item) => number;
  readonly #items: Item[] = [];
  /** The last item that the latest cut kept. Only an item before it can be kept. Undefined before the first cut. */
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
