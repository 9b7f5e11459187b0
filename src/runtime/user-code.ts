/**
 * Handles a rejection of the value that a function of the app returned, when no code awaits it. Node ends the process for an
 * unhandled rejection.
 */
export function onRejection(returned: unknown, handle: (error: unknown) => void): void {
  if (isThenable(returned)) Promise.resolve(returned).catch(handle);
}

/**
 * Calls a function of the app.
 *
 * @param failed - Called with the error that the function throws, or that its promise rejects with.
 */
export function callGuarded(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const returned = call();
    if (returned !== undefined) onRejection(returned, failed);
  } catch (error) {
    failed(error);
  }
}

/** Whether a function of the app returned a promise, or an object that may be one. */
export function isThenable(returned: unknown): returned is object {
  return typeof returned === 'object' && returned !== null && 'then' in returned;
}

/** Calls a function of the app. An error that it throws before it returns becomes a rejection. */
export async function asPromise<T>(call: () => T | Promise<T>): Promise<T> {
  return call();
}
