import type { AuthInfo } from '../protocol/wire-transport.js';

/** The part of an `AuthInfo` that names a party. */
export type AuthSubject = Partial<Pick<AuthInfo, 'clientId' | 'extra'>>;

/**
 * A principal: its name, or the claims from which the default of the option `principal` makes the name. An `AuthInfo` is
 * such claims, and so is `{ clientId }`, for a token without `sub`.
 */
export type PrincipalRef = string | { iss?: string | undefined; sub: string } | (AuthSubject & { clientId: string });

/**
 * The name that the default of the option `principal` derives from an `AuthInfo`. It stays the same when the token is refreshed.
 * Names are JSON, so that two parties never share one: `{"iss":"https://idp.example","sub":"alice"}`, or
 * `{"clientId":"agent"}` for a token without `sub`.
 *
 * @returns Undefined when neither `extra.sub` nor `clientId` is set.
 * @throws TypeError when `extra.iss`, `extra.sub` or `clientId` is set to anything but a string.
 *
 * @example
 * ```ts
 * principalOf({ clientId: 'agent', extra: { iss: 'https://idp.example', sub: 'alice' } });
 * ```
 */
export function principalOf(auth: AuthSubject): string | undefined {
  const iss = claim('extra.iss', auth.extra?.iss);
  const sub = claim('extra.sub', auth.extra?.sub);
  if (sub !== undefined && sub !== '') return JSON.stringify({ iss, sub });
  const clientId = claim('clientId', auth.clientId);
  return clientId === undefined || clientId === '' ? undefined : JSON.stringify({ clientId });
}

/** Ignoring a claim of another type, or converting it to text, could give two parties the same name. */
function claim(name: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  throw new TypeError(`mcpRouter: req.auth.${name} must be a string; it is of type ${typeof value}`);
}

/** Whether the default of the option `principal` can produce this name. */
function isDefaultName(name: string): boolean {
  try {
    const claims = JSON.parse(name) as { iss?: unknown; sub?: unknown; clientId?: unknown } | null;
    return principalOf({ clientId: claims?.clientId, extra: claims } as AuthSubject) === name;
  } catch {
    return false;
  }
}

/**
 * Makes a function that turns a {@link PrincipalRef} into a name.
 *
 * @param byDefault - Whether this router names principals by {@link principalOf}.
 * @param warn - Called with a warning for a name that no principal of this router can have.
 * @returns A function that throws a TypeError when the claims name no party, or when the app names principals itself.
 */
export function createPrincipalNames(
  byDefault: boolean,
  warn: (message: string) => void,
): (principal: PrincipalRef) => string {
  return (principal) => {
    if (typeof principal === 'string') {
      if (byDefault && !isDefaultName(principal)) {
        warn(
          `no principal can be named ${JSON.stringify(principal)}: without option principal their names are JSON; ` +
            'pass { iss, sub }, { clientId } or what principalOf(auth) returns',
        );
      }
      return principal;
    }
    if (!byDefault) {
      throw new TypeError('option principal names the principals of this router: pass the name that it returns');
    }
    const name = isObject(principal) ? principalOf(asAuth(principal)) : undefined;
    if (name !== undefined) return name;
    throw new TypeError('a principal is a name, { iss, sub }, { clientId } or an AuthInfo');
  };
}

function asAuth(principal: Exclude<PrincipalRef, string>): AuthSubject {
  return 'sub' in principal ? { extra: { iss: principal.iss, sub: principal.sub } } : principal;
}

/** A caller in JavaScript may pass any type. */
function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}
