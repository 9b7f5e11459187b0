import type { StoreOperation, StoreOutcome } from '../events.js';
import { inTime, type Clock } from '../runtime/clock.js';

/** Learns how long each operation of a store took. */
export type OnStoreAnswer = (operation: StoreOperation, outcome: StoreOutcome, durationMs: number) => void;

/** One operation of a store that has begun. */
export interface StoreCall<T> {
  readonly operation: StoreOperation;
  readonly answer: Promise<T>;
  /** Milliseconds until it counts as failed. */
  readonly limit: number;
  readonly onTimeout: () => Error;
  /** The remaining time in ms when `limit` has passed. Default: 0. */
  readonly remaining?: (() => number) | undefined;
  /** Milliseconds that the store took. Default: the time until the answer. */
  readonly taken?: (() => number) | undefined;
  /** Whether a rejection is a fault of the store. Default: each is. */
  readonly isFault?: ((error: unknown) => boolean) | undefined;
}

/** Settles as the answer of the store does, or rejects with the error of `onTimeout`. */
export async function timedCall<T>(clock: Clock, call: StoreCall<T>, onAnswer: OnStoreAnswer): Promise<T> {
  const { operation, answer, limit, onTimeout, remaining, isFault = () => true } = call;
  const since = clock.now();
  const taken = call.taken ?? ((): number => clock.now() - since);
  const limited = { timedOut: false };
  const late = (): Error => {
    limited.timedOut = true;
    return onTimeout();
  };
  try {
    const value = await inTime(clock, limit, answer, late, remaining);
    onAnswer(operation, 'ok', taken());
    return value;
  } catch (error) {
    const failed = isFault(error) ? 'error' : 'ok';
    onAnswer(operation, limited.timedOut ? 'timeout' : failed, taken());
    throw error;
  }
}
