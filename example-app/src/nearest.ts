/** The Levenshtein distance: how many letters must be inserted, removed or replaced to turn one word into the other. */
export function editDistance(a: string, b: string): number {
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

/**
 * Finds the known name that was probably meant: at most a third of its letters may differ.
 *
 * The common prefix is ignored, because it would make any two names similar. So `MCP_PORT` is near to `PORT`.
 */
export function nearestName(name: string, known: readonly string[], prefix: string): string | undefined {
  const bare = (word: string) => (word.startsWith(prefix) ? word.slice(prefix.length) : word);
  const given = bare(name);
  const [nearest] = known
    .map((candidate) => ({
      candidate,
      distance: editDistance(given, bare(candidate)),
      isLonger: bare(candidate).startsWith(given),
    }))
    // At equal distance, prefer a name that starts with the given one: users often forget a unit at the end.
    .sort((a, b) => a.distance - b.distance || Number(b.isLonger) - Number(a.isLonger));
  return nearest !== undefined && nearest.distance <= given.length / 3 ? nearest.candidate : undefined;
}
