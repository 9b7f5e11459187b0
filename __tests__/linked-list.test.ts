import fc from 'fast-check';
import { LinkedList, type Linked } from '../src/runtime/linked-list.js';

class Item implements Linked<Item> {
  list: LinkedList<Item> | undefined;
  before: Item | undefined;
  after: Item | undefined;

  constructor(readonly name: number) {}
}

function namesIn(list: LinkedList<Item>): number[] {
  const names: number[] = [];
  for (let item = list.first; item !== undefined; item = item.after) names.push(item.name);
  return names;
}

test('two lists keep the order in which items were added last, through every append, move and removal', () => {
  const step = fc.record({ item: fc.nat(4), to: fc.constantFrom(0, 1, undefined) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const items = Array.from({ length: 5 }, (_, name) => new Item(name));
      const lists = [new LinkedList<Item>(), new LinkedList<Item>()];
      const model: number[][] = [[], []];
      for (const { item: name, to } of steps) {
        const item = items[name] as Item;
        if (to === undefined) item.list?.delete(item);
        else lists[to]?.append(item);
        for (const each of model) if (each.includes(name)) each.splice(each.indexOf(name), 1);
        if (to !== undefined) model[to]?.push(name);
        expect(lists.map(namesIn)).toEqual(model);
        expect(lists.map(({ last }) => last?.name)).toEqual(model.map((each) => each.at(-1)));
      }
    }),
  );
});
