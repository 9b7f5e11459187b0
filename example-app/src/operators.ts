import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import type { Request, RequestHandler } from 'express';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
const OF_A_PROXY = /^(forwarded|via|x-forwarded-.*)$/;

/** Whether a request comes from this machine and past no proxy: behind a proxy on the same machine, every client looks local. */
function isLocal({ socket, headers }: Request): boolean {
  const { remoteAddress = '' } = socket;
  const family = isIP(remoteAddress);
  return (
    family !== 0 &&
    LOOPBACK.check(remoteAddress, family === 6 ? 'ipv6' : 'ipv4') &&
    LOCAL_HOST.test(headers.host ?? '') &&
    !Object.keys(headers).some((name) => OF_A_PROXY.test(name))
  );
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Programs send the token as a bearer token. Browsers ask for a user name and a password, and the token is the password. */
function hasToken({ headers }: Request, token: string): boolean {
  const [, scheme = '', sent = ''] = /^(bearer|basic) (\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const given = scheme.toLowerCase() === 'basic' ? /:(.*)$/s.exec(Buffer.from(sent, 'base64').toString())?.[1] : sent;
  return timingSafeEqual(digest(given ?? ''), digest(token));
}

/** Web pages send an Origin with each POST. A page of another site must not act through an operator's browser. */
function isOfOtherSite({ headers: { origin, host } }: Request): boolean {
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host);
}

/**
 * Lets only operators pass: requests that have the token, or without a token those from this machine.
 *
 * @param token - Undefined when there is none.
 * @param allowedHosts - Names by which clients reach the app. Where one is public there may be a proxy that adds no header, and without
 * a token no request passes.
 */
export function operatorsOnly(token: string | undefined, allowedHosts: readonly string[] = []): RequestHandler {
  const isPublic = allowedHosts.some((host) => !LOCAL_HOST.test(host));
  return (req, res, next) => {
    const isOperator = token === undefined ? !isPublic && isLocal(req) : hasToken(req, token);
    if (isOperator && !isOfOtherSite(req)) return next();
    if (token !== undefined && !isOperator) res.status(401).set('WWW-Authenticate', 'Basic realm="operators"');
    else res.status(403);
    res.type('text').send('For operators only.\n');
  };
}
