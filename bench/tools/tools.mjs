/**
 * The tools that every contender serves, told without any library: each contender registers them in its own way.
 *
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} description
 * @property {(z: any) => Record<string, any>} shape The input's fields, made with the zod that is given.
 * @property {(input: any, report: Report) => string | Promise<string>} run Returns the text of the result.
 *
 * @typedef {(progress: number, total: number) => Promise<void>} Report Sends one progress notification of the call.
 */

const MIB = 1024 * 1024;
const LINE = 'The quick brown fox jumps over the lazy dog, "again" and again.\n';

/** What a tool that reads a file would return: one MiB of text, with characters that JSON has to escape. */
export const DOCUMENT = LINE.repeat(Math.ceil(MIB / LINE.length)).slice(0, MIB);

/** @type {readonly Tool[]} */
const MEASURED = [
  {
    name: 'echo',
    description: 'Returns the text that it is given',
    shape: (z) => ({ text: z.string().describe('What to return') }),
    run: ({ text }) => text,
  },
  {
    name: 'read_document',
    description: 'Returns a document of one MiB under a title',
    shape: (z) => ({ title: z.string().describe('The first line') }),
    run: ({ title }) => `${title}\n${DOCUMENT}`,
  },
  {
    name: 'store_document',
    description: 'Takes a document and tells how long it is',
    shape: (z) => ({ title: z.string().describe('Its title'), text: z.string().describe('Its text') }),
    run: ({ title, text }) => `${title}: ${text.length}`,
  },
  {
    name: 'work_through',
    description: 'Works through some steps and reports each',
    shape: (z) => ({ steps: z.number().int().min(1).describe('How many steps'), label: z.string().describe('Any') }),
    run: async ({ steps, label }, report) => {
      for (let step = 1; step <= steps; step++) await report(step, steps);
      return `${label}: ${steps} steps`;
    },
  },
];

/**
 * A tool that is there to be registered, with an input such as real tools have.
 *
 * @param {number} number
 * @returns {Tool}
 */
const idle = (number) => ({
  name: `search_${number}`,
  description: `Searches collection ${number} and returns what was found`,
  shape: (z) => ({
    query: z.string().min(1).describe('What to search for'),
    limit: z.number().int().min(1).max(100).optional().describe('How many results at most'),
    order: z.enum(['relevance', 'newest', 'oldest']).optional().describe('How to sort them'),
  }),
  run: ({ query }) => `nothing found for ${query}`,
});

/**
 * @param {number} count How many tools: the measured ones and idle ones beside them.
 * @returns {readonly Tool[]}
 */
export function tools(count) {
  return [...MEASURED, ...Array.from({ length: count - MEASURED.length }, (_, index) => idle(index))];
}
