import { isTextDeeperThan } from '../../runtime/json-depth.js';

/**
 * Levels to which a value in a record may be nested. `JSON.stringify` recurses, and V8's default stack has room for about 3,000
 * levels. Every node must be able to write the record again.
 */
export const MAX_RECORD_DEPTH = 1_000;

/**
 * The JSON text of a value for a record. Undefined for a value without a JSON form, such as a function.
 *
 * @throws TypeError when the value is circular or contains a BigInt.
 * @throws RangeError when the value is nested deeper than {@link MAX_RECORD_DEPTH} levels.
 */
export function recordJson(value: unknown): string | undefined {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined || !isTextDeeperThan(MAX_RECORD_DEPTH, text)) return text;
  throw new RangeError(`nested deeper than ${MAX_RECORD_DEPTH} levels`);
}
