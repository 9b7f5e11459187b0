import fc from 'fast-check';
import { Challenges } from '../../src/cluster/membership/challenges.js';

/** Freshness comes from a challenge that the receiver publishes and rotates, not from clocks (docs/scaling.md, "The private listener"). */
describe('the challenges of a node (docs/scaling.md: freshness without clocks)', () => {
  type Deed =
    | { readonly deed: 'next' }
    | { readonly deed: 'check'; readonly back: number; readonly nonce: string }
    | { readonly deed: 'forge'; readonly challenge: string; readonly nonce: string };

  const nonce = fc.constantFrom('a', 'b', 'c', '', '__proto__', 'constructor');
  const deed: fc.Arbitrary<Deed> = fc.oneof(
    { arbitrary: fc.constant({ deed: 'next' as const }), weight: 1 },
    { arbitrary: fc.record({ deed: fc.constant('check' as const), back: fc.nat(6), nonce }), weight: 3 },
    { arbitrary: fc.record({ deed: fc.constant('forge' as const), challenge: fc.string(), nonce }), weight: 1 },
  );

  test('take each nonce once with each of the last four challenges, and nothing with any other', () => {
    const verdicts = { fresh: 0, stale: 0, replayed: 0 };
    fc.assert(
      fc.property(fc.array(deed, { maxLength: 60, size: 'max' }), (deeds) => {
        const challenges = new Challenges();
        const published: { challenge: string; seen: Set<string> }[] = [];
        for (const each of deeds) {
          if (each.deed === 'next') {
            published.unshift({ challenge: challenges.next(), seen: new Set() });
            continue;
          }
          const about = each.deed === 'check' ? published[each.back] : undefined;
          const challenge = each.deed === 'check' ? (about?.challenge ?? 'never published') : each.challenge;
          const kept = about !== undefined && published.indexOf(about) < 4;
          const wanted = !kept ? 'stale' : about.seen.has(each.nonce) ? 'replayed' : 'fresh';
          if (kept) about.seen.add(each.nonce);
          verdicts[wanted] += 1;
          expect(challenges.check({ challenge, nonce: each.nonce })).toBe(wanted);
        }
      }),
      { numRuns: 300 },
    );
    // Or the property would say little.
    expect(Math.min(...Object.values(verdicts))).toBeGreaterThan(100);
  });

  test('are 128 bits that never come again: another node, or the same one later, cannot be taken for this', () => {
    const challenges = new Challenges();
    const published = Array.from({ length: 1_000 }, () => challenges.next());
    expect(new Set(published).size).toBe(1_000);
    for (const challenge of published) expect(Buffer.from(challenge, 'base64url')).toHaveLength(16);
    expect(new Challenges().check({ challenge: published.at(-1)!, nonce: 'nonce' })).toBe('stale');
  });
});
