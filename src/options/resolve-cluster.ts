import { checkOptions, count, having, timer, type Check } from '../runtime/checks.js';
import type { ClusterOptions, ResolvedClusterOptions } from './options.js';

/** The length of SHA-256 output. A shorter key weakens the HMAC (RFC 2104, 3). */
const MIN_SECRET_BYTES = 32;

/**
 * The greatest ratio between the speeds of two nodes' monotonic clocks, which NTP slews. chrony slews by up to 8.34 % (`maxslewrate`,
 * chrony.conf(5)), so two of its clocks may differ by 18.2 %.
 */
const CLOCK_DRIFT = 1.2;

/** How long an operation that began before the fence may take to end, in ms. */
const MARGIN = 200;

/** How long a claim and a restore may take at the end of `claimTimeout`, in ms. */
const RESTORE = 500;

const host: Check = (value) =>
  typeof value === 'string' && /^[\w.:-]+$/.test(value) ? undefined : 'a host name or an IP address';

const port: Check = (value) =>
  value === 0 || (count(value) === undefined && (value as number) < 65_536) ? undefined : 'a port from 0 to 65535';

const REDIS = 'an object of client or sendCommand, and prefix';

const CHECKS = new Map<string, Check>([
  ['redis', having(REDIS)],
  // Checked below without showing the value, as even an invalid one may be a part of a secret.
  ['secret', () => undefined],
  ['host', host],
  ['port', port],
  ['advertise', host],
  ['lease', timer],
  ['renewInterval', timer],
  ['fenceAfter', timer],
  ['claimTimeout', timer],
  ['routing', (value) => (value === 'forward' || value === 'migrate' ? undefined : "'forward' or 'migrate'")],
]);

function refuse(message: string): never {
  throw new TypeError(`mcpRouter: option cluster.${message}`);
}

/**
 * Checks the options of a cluster and fills in the defaults.
 *
 * @throws TypeError when an option is wrong, or when two times contradict each other. The message names the option.
 */
export function resolveCluster(options: ClusterOptions): ResolvedClusterOptions {
  checkOptions('mcpRouter', options, CHECKS, 'cluster.');
  // Both may be missing in JavaScript.
  const { redis, secret } = options as Partial<ClusterOptions>;
  if (redis === undefined) refuse(`redis must be ${REDIS}; got undefined`);
  const bytes = typeof secret === 'string' ? Buffer.byteLength(secret) : undefined;
  if (secret === undefined || bytes === undefined || bytes < MIN_SECRET_BYTES) {
    const got = bytes === undefined ? typeof secret : `one of ${bytes}`;
    refuse(`secret must be a string of at least ${MIN_SECRET_BYTES} bytes; got ${got}`);
  }

  const bound = options.host ?? '127.0.0.1';
  const advertise = options.advertise ?? bound;
  if (['0.0.0.0', '::'].includes(advertise)) {
    refuse(`advertise must be given with host ${bound}, by which no other node can reach this one`);
  }
  const lease = options.lease ?? 5_000;
  const renewInterval = options.renewInterval ?? 1_500;
  const fenceAfter = options.fenceAfter ?? 3_300;
  const claimTimeout = options.claimTimeout ?? 10_000;
  const minLease = Math.ceil(CLOCK_DRIFT * fenceAfter + MARGIN);
  if (lease < minLease) {
    const why = `${CLOCK_DRIFT} times fenceAfter (${fenceAfter}) and ${MARGIN} ms, or two nodes might own a session`;
    refuse(`lease must be at least ${minLease}, ${why}; got ${lease}`);
  }
  if (renewInterval * 2 > fenceAfter) {
    refuse(`renewInterval must be at most half of fenceAfter (${fenceAfter}), for a second try; got ${renewInterval}`);
  }
  const longestClaim = lease + renewInterval + RESTORE;
  if (claimTimeout <= longestClaim) {
    const sum = `lease (${lease}), renewInterval (${renewInterval}) and ${RESTORE} ms for a restore together`;
    refuse(`claimTimeout must be more than ${sum}; got ${claimTimeout}`);
  }
  return Object.freeze({
    redis,
    secret,
    host: bound,
    port: options.port ?? 0,
    advertise,
    lease,
    renewInterval,
    fenceAfter,
    claimTimeout,
    routing: options.routing ?? 'forward',
  });
}
