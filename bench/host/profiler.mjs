import { Session } from 'node:inspector/promises';
import { layerOf, LAYERS } from './layers.mjs';

/** The profiler's sampling interval in µs: enough samples in a second, at little cost. */
const INTERVAL = 200;

/** V8's CPU profiler in the serving process. It reports only the share of each layer. */
export class Profiler {
  #session = new Session();

  async start() {
    this.#session.connect();
    await this.#session.post('Profiler.enable');
    await this.#session.post('Profiler.setSamplingInterval', { interval: INTERVAL });
    await this.#session.post('Profiler.start');
  }

  /** @returns {Promise<Record<string, number>>} Each layer's share of the busy time; the sum is 1. */
  async stop() {
    const { profile } = await this.#session.post('Profiler.stop');
    this.#session.disconnect();
    const layers = new Map(profile.nodes.map(({ id, callFrame }) => [id, layerOf(callFrame)]));
    const times = new Map(LAYERS.map(({ name }) => [name, 0]));
    profile.samples.forEach((node, index) => {
      const layer = layers.get(node);
      if (layer !== undefined) times.set(layer, times.get(layer) + profile.timeDeltas[index]);
    });
    const busy = [...times.values()].reduce((sum, time) => sum + time, 0);
    return Object.fromEntries([...times].map(([layer, time]) => [layer, time / busy]));
  }
}
