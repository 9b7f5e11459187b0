// Where the time of a CPU profile went: `node run/top.mjs <file.cpuprofile>`, one line for each function, its own time only.
import { readFileSync } from 'node:fs';

const SHOWN = 40;

/** Shortens a path to its last parts. */
const where = ({ url, lineNumber }) => (url === '' ? '' : ` ${url.split('/').slice(-3).join('/')}:${lineNumber + 1}`);

const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const names = new Map(
  nodes.map(({ id, callFrame }) => [id, `${callFrame.functionName || '(anonymous)'}${where(callFrame)}`]),
);
const own = new Map();
samples.forEach((id, index) => {
  const name = names.get(id);
  if (name !== '(idle)') own.set(name, (own.get(name) ?? 0) + timeDeltas[index]);
});
const busy = [...own.values()].reduce((sum, time) => sum + time, 0);
for (const [name, time] of [...own].sort(([, a], [, b]) => b - a).slice(0, SHOWN)) {
  console.log(`${((time / busy) * 100).toFixed(1).padStart(5)} % ${name}`);
}
