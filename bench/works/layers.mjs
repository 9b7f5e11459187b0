import { LAYERS } from '../host/layers.mjs';
import { BASE, callsOf, CHEAP, competesIn, cyclesOf, LONG_WARM_UP, openSessions, sample, USUAL } from './work.mjs';

/**
 * Makes a workload that splits CPU time by layer, with V8's profiler. The profiler itself adds some CPU time.
 *
 * @param {object} what
 * @param {string} what.name
 * @param {string} what.title
 * @param {string} what.about
 * @param {string} what.piece
 * @param {readonly import('./work.mjs').Settings[]} what.settings
 * @param {number} [what.warmUp] Factor of the usual warm-up.
 * @param {(scene: import('./work.mjs').Scene) => Promise<(ms: number) => Promise<import('../load/window.mjs').Window>>} what.prepare
 * @returns {import('./work.mjs').Work}
 */
const layers = ({ name, title, about, piece, settings, warmUp = 1, prepare }) => ({
  name,
  title,
  about: `${about} CPU time as V8's profiler tells it, which takes some itself: each function's own time, summed up by whose it is.`,
  takes: competesIn('layers'),
  settings,
  base: BASE,
  columns: [
    { metric: 'cpu', title: `CPU µs/${piece}`, better: 'lower', digits: 0 },
    ...LAYERS.map((layer) => ({ metric: layer.name, title: layer.title, better: 'lower', digits: 0 })),
  ],
  async run(scene) {
    const { host, sizes } = scene;
    const work = await prepare(scene);
    await work(warmUp * sizes.warmMs);
    await host.ask('startProfile');
    const { cpu } = await sample(scene, () => work(sizes.measureMs));
    const shares = await host.ask('stopProfile', undefined, sizes.timeoutMs);
    return { cpu, ...Object.fromEntries(Object.entries(shares).map(([layer, share]) => [layer, share * cpu])) };
  },
});

const calls = (index, count) =>
  layers({
    name: `layers-call-${count}`,
    title: `Where the time goes: tools/call, ${count.toLocaleString('en')} open sessions`,
    about: `\`tools/call\` of \`echo\`, 32 at once, all of ${count.toLocaleString('en')} sessions in turn, with the cheap \`serverFactory\`.`,
    piece: 'call',
    settings: [CHEAP],
    warmUp: LONG_WARM_UP,
    async prepare(scene) {
      await openSessions(scene, scene.sizes.openSessions[index]);
      return callsOf(scene, 'echo');
    },
  });

export const LAYER_WORKS = [
  layers({
    name: 'layers-open',
    title: 'Where the time goes: open, initialized, DELETE',
    about: 'Sessions are opened and ended as above.',
    piece: 'cycle',
    settings: [USUAL, CHEAP],
    prepare: async (scene) => cyclesOf(scene),
  }),
  calls(0, 10),
  calls(2, 10_000),
];
