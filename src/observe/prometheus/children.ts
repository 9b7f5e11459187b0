/** One value for each member of a closed set. */
export function each<Key extends string, Value>(
  keys: readonly Key[],
  make: (key: Key) => Value,
): Readonly<Record<Key, Value>> {
  return Object.fromEntries(keys.map((key) => [key, make(key)])) as Record<Key, Value>;
}

/** Makes a child's series appear without changing its value. */
export function atZero<Child extends { inc(value: number): void }>(child: Child): Child {
  child.inc(0);
  return child;
}
