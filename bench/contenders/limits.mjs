/** The body limit of each contender in bytes: the router's default, so that a 1 MiB argument passes. */
export const BODY_LIMIT = 4 * 1024 * 1024;
