import type { IncomingMessage, ServerResponse } from 'node:http';
import { inTime } from '../runtime/clock.js';
import { callable, checkOptions, flag, type Check } from '../runtime/checks.js';
import { createLocalCheck, isCrossSite, isSameOrigin } from './access.js';
import { createApi, type AdministeredRouter, type Api } from './api.js';
import { ASSETS } from './assets.js';
import { HttpRefusal, readJson, send, sendJson } from './http.js';

export interface AdminPageOptions {
  /**
   * Whether a request comes from an operator. Only `true` lets it pass. It is called for each request of the page. An error, a
   * rejection, or ten seconds without a result refuse the request. A request with a Host that the router refuses never reaches it.
   * It should ask for a credential: an address alone proves no operator.
   *
   * Default: requests from this machine pass. They come over a loopback address, name a loopback host, and have no header of a proxy
   * (`Forwarded`, `Via`, `X-Forwarded-*`). None passes where the router's `allowedHosts` has a public name: a proxy on this machine may
   * add no header.
   */
  authorize?: ((req: IncomingMessage) => boolean | Promise<boolean>) | undefined;
  /** Whether the page only shows sessions. It then ends none and sends nothing. Default: false. */
  readOnly?: boolean | undefined;
}

/** A request handler of Express, or of `node:http` where the app has taken the path of the page off `req.url`. */
export type AdminHandler = (req: IncomingMessage, res: ServerResponse) => void;

/** How long `authorize` may take, in ms. */
const AUTHORIZE_TIMEOUT = 10_000;
const UNSETTLED = `option authorize did not settle within ${AUTHORIZE_TIMEOUT / 1000} s`;

const CHECKS = new Map<string, Check>([
  ['authorize', callable],
  ['readOnly', flag],
]);

/**
 * Makes a page on which operators watch the sessions of a router live, on all nodes of its cluster. They can end sessions, and tell
 * clients that a list has changed.
 *
 * @param router - What `mcpRouter()` or `createMcpEndpoint()` returned.
 * @throws TypeError when the router or an option is wrong.
 *
 * @example
 * ```ts
 * import { adminPage } from 'express-mcp-router/admin';
 *
 * app.use('/admin', adminPage(mcp, { authorize: (req) => req.headers['x-role'] === 'operator' }));
 * ```
 */
export function adminPage(router: AdministeredRouter, options: AdminPageOptions = {}): AdminHandler {
  checkOptions('adminPage', options, CHECKS);
  const { inspection } = router;
  if (inspection === undefined) {
    throw new TypeError('adminPage: the first argument must be what mcpRouter() or createMcpEndpoint() returned');
  }
  const { authorize = createLocalCheck(inspection.allowedHosts), readOnly = false } = options;
  const api = createApi({ router, inspection, readOnly });

  const isOperator = async (req: IncomingMessage): Promise<boolean> => {
    try {
      const verdict = Promise.resolve<unknown>(authorize(req));
      return (await inTime(inspection.clock, AUTHORIZE_TIMEOUT, verdict, () => new Error(UNSETTLED))) === true;
    } catch (error) {
      inspection.report(error);
      return false;
    }
  };

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    try {
      // Host comes before `authorize`: with DNS rebinding, a page of another site sends requests from an operator's address.
      if (!inspection.isHostAllowed(req) || !(await isOperator(req))) throw new HttpRefusal(403, 'Forbidden');
      await route(api, req, res);
    } catch (error) {
      if (!(error instanceof HttpRefusal)) inspection.report(error);
      const refusal = error instanceof HttpRefusal ? error : new HttpRefusal(502, reasonOf(error));
      send(res, refusal.status, 'text/plain', `${refusal.message}\n`, refusal.headers);
    }
  };
  return (req, res) => void answer(req, res).catch(() => res.destroy());
}

/** The message of a router's refusal, such as a store that does not answer, may be shown. Messages of other errors may have secrets. */
function reasonOf(error: unknown): string {
  return error instanceof Error && error.name === 'Refusal' ? error.message : 'The router could not do that';
}

async function route(api: Api, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { method, url = '/' } = req;
  const [path = '', search = ''] = url.split(/\?(.*)/s, 2);
  const isRead = method === 'GET' || method === 'HEAD';
  const view = api.views.get(path);
  if (view !== undefined) {
    if (!isRead) throw methodNotAllowed('GET, HEAD');
    if (isCrossSite(req)) throw new HttpRefusal(403, 'Forbidden');
    return sendJson(res, await view(paramsOf(req, search)));
  }
  const change = api.changes.get(path);
  if (change !== undefined) {
    if (method !== 'POST') throw methodNotAllowed('POST');
    if (!isSameOrigin(req)) throw new HttpRefusal(403, 'Changes are made by the page alone');
    return sendJson(res, await change(await readJson(req)));
  }
  const asset = ASSETS.get(path);
  if (asset === undefined) throw new HttpRefusal(404, 'Not found');
  if (!isRead) throw methodNotAllowed('GET, HEAD');
  const whole = mountOf(req);
  if (path === '/' && whole !== undefined && !whole.endsWith('/')) {
    // Without the slash, the browser would look for the parts of the page beside it.
    throw new HttpRefusal(308, 'Moved', { Location: `./${whole.slice(whole.lastIndexOf('/') + 1)}/` });
  }
  send(res, 200, asset.type, asset.text);
}

/** The text that an operator searches for may be a session ID. So the page sends it in a header, as access logs have the query. */
function paramsOf({ headers: { 'x-search': sought } }: IncomingMessage, query: string): URLSearchParams {
  const params = new URLSearchParams(query);
  if (typeof sought !== 'string') return params;
  try {
    params.append('search', decodeURIComponent(sought));
  } catch {
    throw new HttpRefusal(400, 'X-Search is not valid');
  }
  return params;
}

function methodNotAllowed(Allow: string): HttpRefusal {
  return new HttpRefusal(405, 'Method Not Allowed', { Allow });
}

/** The path that the browser asked for, as Express keeps it. */
function mountOf(req: IncomingMessage): string | undefined {
  const { originalUrl } = req as { originalUrl?: unknown };
  return typeof originalUrl === 'string' ? originalUrl.split('?', 1)[0] : undefined;
}
