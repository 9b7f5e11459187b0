import { BASE, CHEAP, columnsPer, competesIn, cyclesOf, LOW_LEVEL, sample, USUAL } from './work.mjs';

/** @type {import('./work.mjs').Work} */
export const OPEN = {
  name: 'open',
  title: 'open, initialized, DELETE',
  about:
    'A session is opened (`initialize`, `notifications/initialized`) and ended (`DELETE`), 32 at once, with 10 tools: with ' +
    'the usual `serverFactory`, with a cheap one (shared JSON schema validator, schemas made once), and with one that makes ' +
    "the SDK's low-level `Server`, whose handlers all sessions share. Measured is three times as long as elsewhere, as a " +
    'second has few cycles to tell a p99 from. At the end the last sessions must answer 404.',
  takes: competesIn('sessions'),
  settings: [USUAL, CHEAP, LOW_LEVEL],
  base: BASE,
  columns: columnsPer('cycle'),
  async run(scene) {
    const { sizes } = scene;
    const cycle = cyclesOf(scene);
    await cycle(sizes.warmMs);
    return sample(scene, () => cycle(3 * sizes.measureMs));
  },
};
