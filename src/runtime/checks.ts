/** The longest delay that a Node timer takes; a longer one fires at once. */
export const MAX_TIMER = 2 ** 31 - 1;

/** Checks one value: undefined when it will do, else what is wanted. */
export type Check = (value: unknown) => string | undefined;

export const timer: Check = (value) =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_TIMER
    ? undefined
    : `a whole number of milliseconds from 1 to ${MAX_TIMER}`;

/** Like {@link timer}, but 0 will do. */
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

/** An object with these methods. */
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

/** A value as a message may show it: enough to recognise it, and never its secrets. */
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
 * @param name - The function, for the message.
 * @param prefix - Put before each key: `metrics.` for options within an option.
 * @throws TypeError naming the option, what it got and what it wants; also for a key that is not known.
 */
export function checkOptions(name: string, options: unknown, checks: ReadonlyMap<string, Check>, prefix = ''): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(
      `${name}: options must be an object of ${[...checks.keys()].join(', ')}; got ${shown(options)}`,
    );
  }
  const unknown = Object.keys(options).find((key) => !checks.has(key));
  if (unknown !== undefined) {
    throw new TypeError(`${name}: unknown option ${prefix}${unknown}; known are ${[...checks.keys()].join(', ')}`);
  }
  // Not only the options' own: a class may have them as getters, and they are read like any other.
  for (const [key, check] of checks) {
    const value = (options as Record<string, unknown>)[key];
    const wanted = value === undefined ? undefined : check(value);
    if (wanted !== undefined) {
      throw new TypeError(`${name}: option ${prefix}${key} must be ${wanted}; got ${shown(value)}`);
    }
  }
}
