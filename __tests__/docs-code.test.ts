import { blocksOf, GIVEN, topLevelNames, typeCheck, type Page } from './support/code-blocks.js';
import { EXAMPLES as examples, PAGES as pages, readDocument as read, ROOT as root } from './support/documents.js';

/** A page with faults that the check must find. */
const faulty = (name: string, text: string): Page => ({ name: `docs/${name}.md`, blocks: blocksOf(text) });
const late = "```ts\nimport { z as late } from 'zod';\n```\n";
const FAULTY = {
  list: 'text\n\n```ts\nconst one: number = 1;\n```\n\n- in a list:\n\n  ```ts\n  const two: string = one;\n  ```\n',
  early: `\`\`\`ts\nlate;\n\`\`\`\n${late}\`\`\`ts\nlate;\n\`\`\`\n`,
  strict: '```ts\nconst secret: string = process.env.SECRET;\n```\n',
  exact: '```ts\nconst given: { name?: string } = { name: undefined };\n```\n',
};
const probes = Object.entries(FAULTY).map(([name, text]) => faulty(name, text));

let faults: string[];
beforeAll(() => {
  faults = typeCheck(root, [...pages, ...examples, ...probes]);
});
const faultsOf = (name: string) => faults.filter((fault) => fault.startsWith(`docs/${name}.md:`));

test('each TypeScript block of the documentation, and each example in a comment, compiles with `strict` and `exactOptionalPropertyTypes`', () => {
  const count = (of: Page[]) => of.flatMap(({ blocks }) => blocks.filter(({ language }) => language === 'ts')).length;
  expect(count(pages)).toBeGreaterThan(15);
  expect(count(examples)).toBeGreaterThan(5);
  const expected = Object.keys(FAULTY).flatMap(faultsOf);
  expect(faults.filter((fault) => !expected.includes(fault))).toEqual([]);
});

describe('the check of code blocks', () => {
  test('names the line of a fault, in a list too', () => {
    expect(faultsOf('list')).toEqual(["docs/list.md:10: Type 'number' is not assignable to type 'string'."]);
  });

  test('gives a block the names of the blocks before it, and of no later one', () => {
    expect(faultsOf('early')).toEqual(["docs/early.md:2: Cannot find name 'late'."]);
  });

  test.each(['strict', 'exact'])('finds what only `%s` refuses', (name) => {
    expect(faultsOf(name)).toEqual([expect.stringMatching(/:2: Type .* is not assignable/)]);
  });
});

test.each(pages)('$name: each block has a language, and code is written as `ts`, which is checked', ({ blocks }) => {
  const known = ['ts', 'sh', 'yaml', 'json', 'text', GIVEN];
  expect(blocks.map(({ language }) => language).filter((language) => !known.includes(language))).toEqual([]);
});

test.each(pages)(
  "$name: a name that its blocks are given is one of the reader's app, and the text explains it",
  (page) => {
    const prose = read(page.name).replace(/^[ \t]*(```|<!-- given)[\s\S]*?^[ \t]*(```|-->)/gm, '');
    for (const { code } of page.blocks.filter(({ language }) => language === GIVEN)) {
      expect(code).not.toMatch(/^\s*import (?!type )/m);
      const declared = topLevelNames(code.replace(/^\s*import [^;]*;$/gm, ''));
      expect(declared.filter((name) => !prose.includes(`\`${name}\``))).toEqual([]);
    }
  },
);
