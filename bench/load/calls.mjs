import { DOCUMENT } from '../tools/tools.mjs';
import { PLACEHOLDER } from './document.mjs';

/** Progress notifications that a call of `progress` reports. */
export const STEPS = 100;

/**
 * A tool call, and its expected answer.
 *
 * @typedef {object} Call
 * @property {string} tool
 * @property {(label: string) => object} input `label` is unique to the call.
 * @property {(label: string) => string} text
 * @property {number} [progress] Expected notifications before the result.
 */

/** @type {Readonly<Record<string, Call>>} */
export const CALLS = {
  echo: { tool: 'echo', input: (text) => ({ text }), text: (label) => label },
  result: { tool: 'read_document', input: (title) => ({ title }), text: (title) => `${title}\n${PLACEHOLDER}` },
  argument: {
    tool: 'store_document',
    input: (title) => ({ title, text: PLACEHOLDER }),
    text: (title) => `${title}: ${DOCUMENT.length}`,
  },
  progress: {
    tool: 'work_through',
    input: (label) => ({ steps: STEPS, label }),
    text: (label) => `${label}: ${STEPS} steps`,
    progress: STEPS,
  },
};
