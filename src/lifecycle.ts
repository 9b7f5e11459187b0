import { setImmediate as endOfTurn } from 'node:timers/promises';
import type { ClusterNode } from './cluster/cluster-node.js';
import type { Endpoint } from './endpoint/endpoint.js';
import type { BodyReader } from './http/body.js';
import type { ResolvedOptions } from './options/options.js';
import { MAX_TIMER } from './runtime/checks.js';
import { keepingAlive } from './runtime/clock.js';
import type { LifecyclePhase } from './runtime/lifecycle-phase.js';
import { retryBlock } from './transport/sse.js';

/** Makes the functions that drain and close a router. Only they change its phase. */
export function createLifecycle(
  phase: LifecyclePhase,
  bodies: Pick<BodyReader, 'close'>,
  endpoint: Endpoint,
  member: ClusterNode | undefined,
  { clock, retryInterval }: ResolvedOptions,
) {
  let draining: Promise<void> | undefined;
  let closing: Promise<void> | undefined;

  const closeAll = async (): Promise<void> => {
    phase.moveTo('closing');
    bodies.close();
    await endpoint.close();
    // One turn of the event loop, so that the last replies to other nodes are written.
    if (member !== undefined) await endOfTurn();
    phase.moveTo('closed');
    await member?.leave();
    // Replies are written at the end of a turn. The caller may close all sockets as soon as this resolves.
    await endOfTurn();
  };
  const close = (): Promise<void> => (closing ??= keepingAlive(closeAll()));
  const drainThenClose = async (timeoutMs: number): Promise<void> => {
    phase.moveTo('draining');
    member?.drain();
    endpoint.drain();
    let timer: unknown;
    const timeout = new Promise<void>((resolve) => (timer = clock.setTimeout(resolve, timeoutMs)));
    await Promise.race([endpoint.idle(), timeout]);
    clock.clearTimeout(timer);
    // Last, as clients reconnect at once. They are refused until another process listens, and give up after a few attempts.
    member?.endStreams(retryBlock(retryInterval));
    await endpoint.endStreams();
    await close();
  };
  const drain = (timeoutMs: number): Promise<void> => {
    if (Number.isFinite(timeoutMs) && timeoutMs >= 0 && timeoutMs <= MAX_TIMER) {
      return draining ?? closing ?? (draining = keepingAlive(drainThenClose(timeoutMs)));
    }
    return Promise.reject(
      new TypeError(`mcpRouter: drain takes milliseconds from 0 to ${MAX_TIMER}; got ${String(timeoutMs)}`),
    );
  };
  return { drain, close };
}
