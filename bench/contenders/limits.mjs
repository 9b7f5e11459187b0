/** Bytes of one POST body that each contender takes: the default of the router, so that a 1 MiB argument passes. */
export const BODY_LIMIT = 4 * 1024 * 1024;
