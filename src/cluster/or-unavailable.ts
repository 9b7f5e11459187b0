import { Refusal } from '../errors.js';

/** The answer of Redis. @throws Refusal `storeUnavailable` when the promise rejects. */
export async function orStoreUnavailable<T>(asked: T | Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (cause) {
    throw new Refusal('storeUnavailable', { cause });
  }
}
