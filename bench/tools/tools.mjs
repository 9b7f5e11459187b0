/**
 * The tools of every contender, described without a library: each contender registers them in its own way.
 *
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} description
 * @property {(z: any) => Record<string, any>} shape Builds the fields of the input with the given zod.
 * @property {(input: any, report: Report) => string | Promise<string>} run Returns the text of the result.
 *
 * @typedef {(progress: number, total: number) => Promise<void>} Report Sends one progress notification of the call.
 */

const MIB = 1024 * 1024;
const LINE = 'The quick brown fox jumps over the lazy dog, "again" and again.\n';

/** One MiB of text, like the result of a tool that reads a file, with characters that JSON must escape. */
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
 * Makes a tool that is registered but never called, with a realistic input.
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
 * @param {number} count Number of tools: the measured ones, filled up with idle ones.
 * @returns {readonly Tool[]}
 */
export function tools(count) {
  return [...MEASURED, ...Array.from({ length: count - MEASURED.length }, (_, index) => idle(index))];
}
