/**
 * Handles the rejection of what a user's function returned, where nothing awaits it: Node ends the process for a rejection
 * that nothing handles.
 */
export function onRejection(returned: unknown, handle: (error: unknown) => void): void {
  if (typeof returned !== 'object' || returned === null || !('then' in returned)) return;
  Promise.resolve(returned).catch(handle);
}

/** What a user's function returns, as a promise: one that throws before it returns a promise has rejected. */
export async function asPromise<T>(call: () => T | Promise<T>): Promise<T> {
  return call();
}
