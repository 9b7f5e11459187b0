/** The Levenshtein distance: how many letters must be inserted, removed or replaced to turn one word into the other. */
function editDistance(a: string, b: string): number {
  // One row of distances for each letter of `a`. Each row needs only the one above it.
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    above = row;
  }
  return above[b.length] ?? 0;
}

/** A word in lower case, without `_` and `-`: those are often written in another way. */
const bare = (name: string): string => name.replaceAll(/[_-]/g, '').toLowerCase();

/** The longest word for which a nearest name is looked for. The distance takes time by the square of the length. */
const MAX_LENGTH = 64;

/** Finds the known name that was probably meant. At most a third of its letters may differ. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const given = bare(name);
  if (given === '' || given.length > MAX_LENGTH) return undefined;
  let nearest: string | undefined;
  let least = Math.floor(given.length / 3) + 1;
  for (const candidate of known) {
    const distance = editDistance(given, bare(candidate));
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}
