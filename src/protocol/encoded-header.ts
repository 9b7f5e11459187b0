import { isUtf8 } from 'node:buffer';

// A header that repeats a text of the body, in Base64 where the text is no value of a header (MCP 2026-07-28,
// basic/transports/streamable-http, "Value Encoding").

const PREFIX = '=?base64?';
/** Visible ASCII, space and tab. */
const PLAIN = /^[\t\x20-\x7e]*$/;
/** Case-sensitive, as the page says. */
const ENCODED = /^=\?base64\?(.*)\?=$/;
/** RFC 4648, 4, with its padding. Node's decoder skips what it does not know. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Also encodes a text with white space at its start or end, which a header would lose (RFC 9110, 5.5). */
export function encodeHeader(text: string): string {
  const isValue = PLAIN.test(text) && text.trim() === text && !text.startsWith(PREFIX);
  return isValue ? text : `${PREFIX}${Buffer.from(text).toString('base64')}?=`;
}

/** The text that a header stands for; undefined when it has invalid characters, Base64 or UTF-8. */
export function decodeHeader(value: string): string | undefined {
  if (!PLAIN.test(value)) return undefined;
  const [, encoded] = ENCODED.exec(value) ?? [];
  if (encoded === undefined) return value;
  if (!BASE64.test(encoded)) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  return isUtf8(bytes) ? bytes.toString() : undefined;
}
