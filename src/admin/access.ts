import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { hostOf } from '../http/guard.js';

const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
const OF_A_PROXY = /^(forwarded|via|x-forwarded-.*)$/;

/**
 * Makes the check that a request comes from this machine, and through no proxy. Behind a proxy every client looks local, and a proxy
 * that adds no header cannot be seen. So no request passes where clients reach the router by a public name. The router has already
 * checked Host.
 *
 * @param allowedHosts - The option of the router.
 */
export function createLocalCheck(allowedHosts: readonly string[] = []): (req: IncomingMessage) => boolean {
  if (allowedHosts.some((host) => !LOCAL_HOST.test(host))) return () => false;
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8);
  loopback.addAddress('::1', 'ipv6');
  return (req) => {
    const { remoteAddress = '' } = req.socket;
    const family = isIP(remoteAddress);
    return (
      family !== 0 &&
      loopback.check(remoteAddress, family === 6 ? 'ipv6' : 'ipv4') &&
      !Object.keys(req.headers).some((name) => OF_A_PROXY.test(name))
    );
  };
}

/**
 * Whether a request is one of the page itself. Browsers that send no Sec-Fetch-Site send an Origin with each POST. A proxy that ends
 * TLS may hide the scheme, so only host and port are compared.
 */
export function isSameOrigin(req: IncomingMessage): boolean {
  const { origin, 'sec-fetch-site': site } = req.headers;
  if (site !== undefined) return site === 'same-origin';
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === hostOf(req)?.toLowerCase();
}

/** Whether a page of another site has sent the request. */
export function isCrossSite(req: IncomingMessage): boolean {
  const { origin, 'sec-fetch-site': site = origin === undefined ? 'none' : undefined } = req.headers;
  return site !== 'none' && !isSameOrigin(req);
}
