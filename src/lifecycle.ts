import { setImmediate as endOfTurn } from 'node:timers/promises';
import type { ClusterNode } from './cluster/cluster-node.js';
import type { Endpoint } from './endpoint/endpoint.js';
import type { BodyReader } from './http/body.js';
import type { ResolvedOptions } from './options/options.js';
import { MAX_TIMER } from './runtime/checks.js';
import { keepingAlive } from './runtime/clock.js';
import type { LifecyclePhase } from './runtime/lifecycle-phase.js';
import { retryBlock } from './transport/sse.js';

/** How a router drains and closes. Nothing else moves its phase. */
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
    // The last replies are on their way to other nodes.
    if (member !== undefined) await endOfTurn();
    phase.moveTo('closed');
    await member?.leave();
    // Replies are written at the end of the turn that ends them, and who awaits this may then close every socket.
    await endOfTurn();
  };
  const close = (): Promise<void> => (closing ??= keepingAlive(closeAll()));
  const drainThenClose = async (timeoutMs: number): Promise<void> => {
    phase.moveTo('draining');
    member?.drain();
    endpoint.drain();
    let timer: unknown;
    const late = new Promise<void>((resolve) => (timer = clock.setTimeout(resolve, timeoutMs)));
    await Promise.race([endpoint.idle(), late]);
    clock.clearTimeout(timer);
    // Last: a client that tries to open its stream again is refused until another process listens, and soon gives up.
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
