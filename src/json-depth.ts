const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** `[` and `{` differ in this bit only, and so do `]` and `}`. */
const BRACE = 0x20;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Whether arrays and objects are nested deeper than that in a JSON text. */
export function isTextDeeperThan(max: number, text: string): boolean {
  // Each level takes two brackets.
  if (text.length <= 2 * max) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if ((code | BRACE) === CLOSE) depth -= 1;
    else if ((code | BRACE) === OPEN && ++depth > max) return true;
  }
  return false;
}

/** Where the string ends that begins there. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at += 1;
  }
  return at;
}
