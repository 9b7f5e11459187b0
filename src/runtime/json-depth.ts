const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** The one bit in which `[` and `{` differ, and `]` and `}`. */
const BRACE = 0x20;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/**
 * Whether arrays and objects in a JSON text are nested deeper than `max` levels.
 *
 * The text is checked before it is parsed: `JSON.parse` takes seconds for two million nested arrays, and code that reads the
 * value may overflow its stack. Most texts have few brackets, which native searches find fast.
 */
export function isTextDeeperThan(max: number, text: string): boolean {
  if (text.length <= max) return false;
  const objects = countUpTo(max + 1, text, '{');
  return objects + countUpTo(max + 1 - objects, text, '[') > max && hasDepth(max + 1, text);
}

/** The same for a parsed value. It does not recurse, as the client chooses the depth. */
export function isValueDeeperThan(max: number, value: unknown): boolean {
  if (!isNode(value)) return false;
  const levels: Iterator<unknown>[] = [childrenOf(value)];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    if (levels.length > max) return true;
    const next = level.next();
    if (next.done === true) levels.pop();
    else if (isNode(next.value)) levels.push(childrenOf(next.value));
  }
  return false;
}

function countUpTo(most: number, text: string, character: string): number {
  let found = 0;
  for (let at = text.indexOf(character); at >= 0 && found < most; at = text.indexOf(character, at + 1)) found += 1;
  return found;
}

function hasDepth(wanted: number, text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if ((code | BRACE) === CLOSE) depth -= 1;
    else if ((code | BRACE) === OPEN && ++depth >= wanted) return true;
  }
  return false;
}

/** The index of the quote that ends the string which begins at `start`, or the length of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at += 1;
  }
  return at;
}

function isNode(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function childrenOf(value: object): Iterator<unknown> {
  return (Array.isArray(value) ? value : Object.values(value))[Symbol.iterator]();
}
