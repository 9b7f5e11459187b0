import type { CheckGroup } from '../check.js';
import { AUTHORIZATION_CHECKS } from './authorization.js';
import { BROWSERS } from './browsers.js';
import { OPENING } from './opening.js';
import { PER_REQUEST_ERA } from './per-request.js';
import { PROXIES } from './proxies.js';
import { REQUESTS } from './requests.js';
import { SESSIONS } from './sessions.js';
import { STREAMS } from './streams.js';

/** The checks by concept, in their order. Some look at the replies to earlier ones. */
export const GROUPS: readonly CheckGroup[] = [
  OPENING,
  AUTHORIZATION_CHECKS,
  SESSIONS,
  STREAMS,
  PER_REQUEST_ERA,
  PROXIES,
  BROWSERS,
  REQUESTS,
];
