import type { ProbeOptions } from './probe.js';

/** In characters. A shorter value is no secret, and may stand anywhere by chance. */
const MIN_LENGTH = 6;

const HIDDEN = '***';

/** A header without its scheme too: a server may repeat the bare token. */
const valuesOf = (header: string): string[] => [header, header.replace(/^(?:bearer|basic)\s+/i, '')];

/**
 * Returns a function that hides the values of the user's headers and query in a text. A report is shared, and the log of a CI job keeps
 * it.
 */
export function hider({ url, headers }: Pick<ProbeOptions, 'url' | 'headers'>): (text: string) => string {
  const queried = [...url.searchParams.values()].flatMap((value) => [value, encodeURIComponent(value)]);
  const secrets = [...Object.values(headers).flatMap(valuesOf), ...queried]
    .filter(({ length }) => length >= MIN_LENGTH)
    .sort((a, b) => b.length - a.length);
  return (text) => secrets.reduce((hidden, secret) => hidden.replaceAll(secret, HIDDEN), text);
}

/** The URL as a report shows it. */
export function shownUrl({ href }: URL): string {
  const url = new URL(href);
  if (url.username !== '' || url.password !== '') [url.username, url.password] = [HIDDEN, ''];
  for (const name of new Set(url.searchParams.keys())) url.searchParams.set(name, HIDDEN);
  return url.href;
}

/** Takes the user and password out of a URL: they are a header, which some requests leave out (RFC 7617). */
export function splitUrl(from: URL): { readonly url: URL; readonly headers: Readonly<Record<string, string>> } {
  const url = new URL(from);
  const { username, password } = url;
  if (username === '' && password === '') return { url, headers: {} };
  [url.username, url.password] = ['', ''];
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return { url, headers: { authorization: `Basic ${credentials.toString('base64')}` } };
}
