import { Session } from 'node:inspector/promises';
import { layerOf, LAYERS } from './layers.mjs';

/** How often the profiler looks what runs, in µs: often enough for a second to tell, and seldom enough to cost little. */
const INTERVAL = 200;

/** V8's own CPU profiler, in the process that serves; tells only in which layer the time went. */
export class Profiler {
  #session = new Session();

  async start() {
    this.#session.connect();
    await this.#session.post('Profiler.enable');
    await this.#session.post('Profiler.setSamplingInterval', { interval: INTERVAL });
    await this.#session.post('Profiler.start');
  }

  /** @returns {Promise<Record<string, number>>} Each layer's share of the time in which anything ran; all of them make 1. */
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
