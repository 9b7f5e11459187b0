/**
 * Handles the rejection of the value that a user's function returned, when nothing awaits it. Node ends the process for an
 * unhandled rejection.
 */
export function onRejection(returned: unknown, handle: (error: unknown) => void): void {
  if (typeof returned !== 'object' || returned === null || !('then' in returned)) return;
  Promise.resolve(returned).catch(handle);
}

/** Calls a user's function. An error that it throws before it returns becomes a rejection. */
export async function asPromise<T>(call: () => T | Promise<T>): Promise<T> {
  return call();
}
