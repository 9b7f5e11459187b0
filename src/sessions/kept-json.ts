import { isTextDeeperThan } from '../json-depth.js';

/**
 * Levels to which a value in a record may be nested. `JSON.stringify` recurses, and V8's default stack holds some 3,000 levels:
 * a record must be writable wherever it is written.
 */
export const MAX_KEPT_DEPTH = 1_000;

/**
 * A value as the JSON text that a record holds; undefined for what JSON has no form for, such as a function.
 *
 * @throws TypeError when the value is circular or holds a BigInt; RangeError when it is nested too deep.
 */
export function keptJson(value: unknown): string | undefined {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined || !isTextDeeperThan(MAX_KEPT_DEPTH, text)) return text;
  throw new RangeError(`nested deeper than ${MAX_KEPT_DEPTH} levels`);
}
