import { STATELESS_BASE } from '../contenders/list.mjs';
import { callsOf, CHEAP, columnsPer, competesIn, sample, USUAL } from './work.mjs';

/** @type {import('./work.mjs').Work} */
export const STATELESS = {
  name: 'stateless',
  title: 'Stateless',
  about:
    '`tools/call` of `echo` without a session, 32 at once: a server with 10 tools is built for each request, by the usual ' +
    '`serverFactory` and by a cheap one.',
  takes: competesIn('stateless'),
  settings: [USUAL, CHEAP],
  base: STATELESS_BASE,
  columns: columnsPer('call'),
  async run(scene) {
    const { load, sizes, entry } = scene;
    const modern = entry.contender.fields.includes('stateless-modern');
    await load.ask('stateless', { count: sizes.concurrency, modern });
    const call = callsOf(scene, 'echo');
    await call(sizes.warmMs);
    return sample(scene, () => call(sizes.measureMs));
  },
};
