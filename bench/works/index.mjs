import { CALL_WORKS } from './calls.mjs';
import { CLUSTER, CLUSTER_HOP, CLUSTER_NOTIFY } from './cluster.mjs';
import { FANOUT } from './fanout.mjs';
import { HIBERNATION } from './hibernation.mjs';
import { LAYER_WORKS } from './layers.mjs';
import { MEMORY_WORKS } from './memory.mjs';
import { OPEN_SERVERS } from './open-servers.mjs';
import { OPEN_SESSIONS } from './open-sessions.mjs';
import { OPEN } from './open.mjs';
import { PER_REQUEST_WORKS } from './per-request.mjs';
import { STATELESS } from './stateless.mjs';

/** The workloads, in the order of measurement and of the report. */
export const WORKS = [
  ...CALL_WORKS,
  OPEN,
  FANOUT,
  OPEN_SESSIONS,
  OPEN_SERVERS,
  ...MEMORY_WORKS,
  HIBERNATION,
  STATELESS,
  ...PER_REQUEST_WORKS,
  CLUSTER,
  CLUSTER_HOP,
  CLUSTER_NOTIFY,
  ...LAYER_WORKS,
];
