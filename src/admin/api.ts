import type { Inspection } from '../inspection/inspection.js';
import { HttpRefusal } from './http.js';
import { toClose, toClosePrincipal, toKey, toListChange, toListQuery, type ListName } from './requests.js';

/** A router or endpoint, as the admin page uses it. */
export interface AdministeredRouter {
  readonly sessions: { close(id: string): Promise<boolean>; closeByPrincipal(principal: string): Promise<number> };
  readonly notify: Readonly<
    Record<
      'toolListChanged' | 'promptListChanged' | 'resourceListChanged',
      (target?: { readonly session: string } | { readonly principal: string }) => Promise<object>
    >
  >;
  /** @internal */
  readonly inspection?: Inspection;
}

/** The requests of the page, by path. */
export interface Api {
  readonly views: ReadonlyMap<string, (params: URLSearchParams) => Promise<unknown>>;
  readonly changes: ReadonlyMap<string, (body: unknown) => Promise<unknown>>;
}

export interface ApiInit {
  readonly router: AdministeredRouter;
  readonly inspection: Inspection;
  readonly readOnly: boolean;
}

export function createApi({ router: { sessions, notify }, inspection, readOnly }: ApiInit): Api {
  const idOf = async (key: string): Promise<string> => {
    const id = await inspection.find(key);
    if (id === undefined) throw new HttpRefusal(404, 'The session has ended');
    return id;
  };
  const listChanged: Readonly<Record<ListName, AdministeredRouter['notify']['toolListChanged']>> = {
    tools: (target) => notify.toolListChanged(target),
    prompts: (target) => notify.promptListChanged(target),
    resources: (target) => notify.resourceListChanged(target),
  };

  const views: [string, (params: URLSearchParams) => Promise<unknown>][] = [
    ['/api/sessions', async (params) => ({ readOnly, ...(await inspection.list(toListQuery(params))) })],
    [
      '/api/session',
      async (params) => {
        const detail = await inspection.detail(toKey(params));
        if (detail === undefined) throw new HttpRefusal(404, 'The session has ended');
        return detail;
      },
    ],
  ];
  const changes: [string, (body: unknown) => Promise<unknown>][] = [
    ['/api/close', async (body) => ({ closed: (await sessions.close(await idOf(toClose(body)))) ? 1 : 0 })],
    ['/api/close-principal', async (body) => ({ closed: await sessions.closeByPrincipal(toClosePrincipal(body)) })],
    [
      '/api/list-changed',
      async (body) => {
        const { list, key, principal } = toListChange(body);
        if (key !== undefined) return listChanged[list]({ session: await idOf(key) });
        return listChanged[list](principal === undefined ? undefined : { principal });
      },
    ],
  ];
  const refuse = (): Promise<never> => Promise.reject(new HttpRefusal(403, 'The page is read-only'));
  return {
    views: new Map(views),
    changes: new Map(changes.map(([path, change]) => [path, readOnly ? refuse : change])),
  };
}
