/** Now, in ms since 1970 with fractions: processes of one machine can compare it. */
export const sinceEpoch = () => performance.timeOrigin + performance.now();
