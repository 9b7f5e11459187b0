import { nearestName } from './nearest-name.js';

/** The longest delay of a Node timer, in ms. A timer with a longer delay fires at once. */
export const MAX_TIMER = 2 ** 31 - 1;

/** Whether a value is an object with fields: neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Checks one value. Returns undefined when it is valid, else a description of valid values. */
export type Check = (value: unknown) => string | undefined;

export const timer: Check = (value) =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_TIMER
    ? undefined
    : `a whole number of milliseconds from 1 to ${MAX_TIMER}`;

/** Like {@link timer}, but 0 is valid, too. */
export const delay: Check = (value) =>
  value === 0 || timer(value) === undefined ? undefined : `a whole number of milliseconds from 0 to ${MAX_TIMER}`;

export const count: Check = (value) =>
  Number.isSafeInteger(value) && (value as number) >= 1 ? undefined : 'a whole number of 1 or more';

export const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');

export const callable: Check = (value) => (typeof value === 'function' ? undefined : 'a function');

export const strings: Check = (value) =>
  Array.isArray(value) && value.every((entry) => typeof entry === 'string' && entry !== '')
    ? undefined
    : 'an array of non-empty strings';

/** Makes a check for an object with these methods. */
export const having =
  (wanted: string, ...methods: string[]): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function')
      ? undefined
      : wanted;

export const clock = having('a Clock', 'now', 'setTimeout', 'clearTimeout');

export const orFalse =
  (check: Check): Check =>
  (value) => {
    const wanted = value === false ? undefined : check(value);
    return wanted === undefined ? undefined : `${wanted}, or false`;
  };

/** A value for an error message. Contents of objects are not shown, as they may be secret. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value) && value.length === 0) return 'an empty array';
  if (Array.isArray(value))
    return `an array (${value.map((entry) => (Array.isArray(entry) ? 'an array' : shown(entry))).join(', ')})`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/**
 * Checks the options of a public function.
 *
 * @param name - The function's name, for the message.
 * @param prefix - The prefix of each key in the message, such as `metrics.` for options within an option.
 * @throws TypeError when an option is unknown or has a wrong value. The message has the option, its value and a valid one.
 */
export function checkOptions(name: string, options: unknown, checks: ReadonlyMap<string, Check>, prefix = ''): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(
      `${name}: options must be an object of ${[...checks.keys()].join(', ')}; got ${shown(options)}`,
    );
  }
  const unknown = Object.keys(options).find((key) => !checks.has(key));
  if (unknown !== undefined) {
    const nearest = nearestName(unknown, checks.keys());
    const hint = nearest === undefined ? '' : ` (did you mean ${prefix}${nearest}?)`;
    throw new TypeError(
      `${name}: unknown option ${prefix}${unknown}${hint}; known are ${[...checks.keys()].join(', ')}`,
    );
  }
  // Inherited properties are checked, too, as the router reads them: a class may have options as getters.
  for (const [key, check] of checks) {
    const value = (options as Record<string, unknown>)[key];
    const wanted = value === undefined ? undefined : check(value);
    if (wanted !== undefined) {
      throw new TypeError(`${name}: option ${prefix}${key} must be ${wanted}; got ${shown(value)}`);
    }
  }
}

/**
 * Makes a function that remembers its results, each by the text that it was made of.
 *
 * It forgets all of them when there are `max`: clients choose the texts, and one that sends a new text in each request must not fill
 * the memory.
 */
export function cached<Result>(max: number, make: (text: string) => Result): (text: string) => Result {
  const results = new Map<string, Result>();
  return (text) => {
    const known = results.get(text);
    if (known !== undefined) return known;
    if (results.size >= max) results.clear();
    const result = make(text);
    results.set(text, result);
    return result;
  };
}
