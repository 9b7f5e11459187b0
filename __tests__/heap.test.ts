import fc from 'fast-check';
import { Heap, type Slotted } from '../src/runtime/heap.js';

interface Item extends Slotted {
  readonly rank: number;
}

test('after any additions and removals, the first item is a least one, and each item knows whether it is in the heap (property)', () => {
  const step = fc.record({ item: fc.nat(39), adds: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(fc.nat(20), { minLength: 40, maxLength: 40 }),
      fc.array(step, { maxLength: 200 }),
      (ranks, all) => {
        const items = ranks.map((rank): Item => ({ rank, slot: -1 }));
        const heap = new Heap<Item>((a, b) => a.rank < b.rank);
        const model = new Set<Item>();
        const check = (): void => {
          expect(heap.first?.rank ?? Infinity).toBe(Math.min(...[...model].map(({ rank }) => rank)));
          expect(items.filter(({ slot }) => slot !== -1)).toEqual(items.filter((item) => model.has(item)));
        };
        for (const { item: n, adds } of all) {
          const item = items[n]!;
          if (adds && !model.has(item)) {
            heap.add(item);
            model.add(item);
          } else if (!adds && model.delete(item)) heap.delete(item);
          check();
        }
        while (heap.first !== undefined) {
          model.delete(heap.first);
          heap.delete(heap.first);
          check();
        }
        expect(model.size).toBe(0);
      },
    ),
    { numRuns: 50 },
  );
});
