import { DOCUMENT } from '../tools/tools.mjs';

/** The generator's short placeholder for the document. */
export const PLACEHOLDER = '@document';

/** The document as `JSON.stringify` writes it, without the quotes. */
const BYTES = Buffer.from(JSON.stringify(DOCUMENT).slice(1, -1));
const BEGINNING = BYTES.subarray(0, 32);

/**
 * Replaces the placeholder by the document. Encoding a MiB for each request would cost the generator as much as reading
 * it costs the contender.
 *
 * @param {string} json
 * @returns {string | Buffer}
 */
export function insertDocument(json) {
  const at = json.indexOf(PLACEHOLDER);
  if (at < 0) return json;
  const [before, after] = [json.slice(0, at), json.slice(at + PLACEHOLDER.length)];
  return Buffer.concat([Buffer.from(before), BYTES, Buffer.from(after)]);
}

/**
 * Replaces the document by the placeholder, if every byte is equal. A document with a wrong byte stays, and the later check
 * of the answer fails.
 *
 * @param {Buffer} body
 * @returns {string}
 */
export function removeDocument(body) {
  if (body.length < BYTES.length) return body.toString();
  const at = body.indexOf(BEGINNING);
  const end = at + BYTES.length;
  if (at < 0 || end > body.length || body.compare(BYTES, 0, BYTES.length, at, end) !== 0) return body.toString();
  return body.toString('utf8', 0, at) + PLACEHOLDER + body.toString('utf8', end);
}
