import type { IncomingMessage, ServerResponse } from 'node:http';
import { endWith } from '../http/answer.js';

/** Bytes of the largest body. */
const MAX_BODY = 8 * 1024;

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

/** A refusal, with the text that the page shows. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';

  constructor(
    readonly status: number,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** Answers a request, unless other middleware has answered it. */
export function send(
  res: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.headersSent || res.destroyed) return;
  const bytes = Buffer.from(body);
  res.writeHead(status, {
    ...HEADERS,
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': bytes.length,
    ...headers,
  });
  // Node leaves out the body of the answer to a HEAD.
  endWith(res, bytes);
}

export function sendJson(res: ServerResponse, value: unknown): void {
  send(res, 200, 'application/json', JSON.stringify(value));
}

/**
 * The JSON body of a request. If other code has read it, it is taken from `req.body`.
 *
 * @throws HttpRefusal 415 when it is of another media type, which a page of another site can send without a preflight.
 * @throws HttpRefusal 413 when it is too large; 400 when it is no JSON.
 */
export async function readJson(req: IncomingMessage & { body?: unknown }): Promise<unknown> {
  if (!/^application\/json\s*(;|$)/i.test(req.headers['content-type'] ?? '')) {
    throw new HttpRefusal(415, 'Send application/json');
  }
  if (req.body !== undefined) return req.body;
  const chunks: Buffer[] = [];
  let bytes = 0;
  // A body that is too large is also read to its end: a loop that breaks off destroys the request, and the answer with it.
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MAX_BODY) chunks.push(chunk);
  }
  if (bytes > MAX_BODY) throw new HttpRefusal(413, 'The body is too large');
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    throw new HttpRefusal(400, 'The body is no JSON');
  }
}
