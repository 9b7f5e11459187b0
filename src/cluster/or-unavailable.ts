import { Refusal } from '../errors.js';

/** What was asked of Redis. @throws Refusal `storeUnavailable` where that rejects: then nothing is known. */
export async function orStoreUnavailable<T>(asked: T | Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (cause) {
    throw new Refusal('storeUnavailable', { cause });
  }
}
