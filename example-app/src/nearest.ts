/** How many letters must be put in, taken out or exchanged to make one word of the other (Levenshtein's distance). */
export function editDistance(a: string, b: string): number {
  // Distances from the beginnings of `a` to those of `b`, a row for each letter of `a`; only the last row is needed.
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const exchanged = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(exchanged, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    above = row;
  }
  return above[b.length] ?? 0;
}

/**
 * The known name that was probably meant, if one is near enough: a third of its letters may differ.
 *
 * A prefix that all share is left out, as it would make any two look alike. `MCP_PORT` is thus near to `PORT`.
 */
export function nearestName(name: string, known: readonly string[], prefix: string): string | undefined {
  const bare = (word: string) => (word.startsWith(prefix) ? word.slice(prefix.length) : word);
  const given = bare(name);
  const [nearest] = known
    .map((candidate) => ({
      candidate,
      distance: editDistance(given, bare(candidate)),
      goesOn: bare(candidate).startsWith(given),
    }))
    // Of two that are as near, one that only goes on: a unit at the end is easily left out.
    .sort((a, b) => a.distance - b.distance || Number(b.goesOn) - Number(a.goesOn));
  return nearest !== undefined && nearest.distance <= given.length / 3 ? nearest.candidate : undefined;
}
