import { checkOptions, flag, having, strings, type Check } from '../runtime/checks.js';

/** RFC 3986, 3.3: a path of non-empty segments, or the root. */
const PATH = /^(\/|(\/[\w.~!$&'()*+,;=:@%-]+)+)$/;

export const path: Check = (value) =>
  typeof value === 'string' && PATH.test(value)
    ? undefined
    : 'a path such as /mcp, as it stands in URLs, without / at its end';

/** A URL that may stand in a quoted string of a header (RFC 9110, 5.6.4). */
export const webUrl: Check = (value) =>
  typeof value === 'string' && /^https?:\/\/[^\s"\\]+$/.test(value) && URL.canParse(value)
    ? undefined
    : 'a URL such as https://mcp.example.com/.well-known/oauth-protected-resource/mcp';

/** RFC 6454, 6.2, and `null`, which browsers send for an opaque origin. */
const ORIGIN = /^(null|[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+)$/;

export const origins: Check = (value) =>
  strings(value) === undefined && (value as string[]).every((origin) => ORIGIN.test(origin))
    ? undefined
    : 'an array of origins such as https://app.example.com';

export const staleSessions: Check = (value) =>
  value === 'reject' || value === 'reissue' ? undefined : "'reject' or 'reissue'";

export const object =
  (wanted: string): Check =>
  (value) =>
    Array.isArray(value) ? wanted : having(wanted)(value);

/** `resolvePerRequest` checks the options inside the object. */
export const perRequest: Check = (value) =>
  typeof value === 'boolean' ? undefined : object('true, false, or an object of its own options')(value);

const metricPrefix: Check = (value) =>
  typeof value === 'string' && /^([a-zA-Z_:][\w:]*)?$/.test(value)
    ? undefined
    : 'the beginning of a metric name: letters, digits, _ and :, no digit first';

const METRICS_CHECKS = new Map<string, Check>([
  ['registry', having('a prom-client Registry', 'registerMetric', 'getSingleMetric', 'metrics')],
  ['prefix', metricPrefix],
  ['tools', flag],
  ['route', flag],
]);

/** @throws TypeError when an option within `metrics` is wrong. The message names it. */
export const metricsOptions: Check = (value) => {
  const wanted = object('an object of registry, prefix, tools, route')(value);
  if (wanted === undefined) checkOptions('mcpRouter', value, METRICS_CHECKS, 'metrics.');
  return wanted;
};
