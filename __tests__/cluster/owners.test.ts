import { OwnerCache } from '../../src/cluster/forwarding/owner-cache.js';

const MOST = 20_000;

test('owners are remembered of 20,000 sessions, and the one that was not asked for the longest is forgotten first (docs/scaling.md)', () => {
  const owners = new OwnerCache();
  for (let n = 0; n < MOST; n += 1) owners.set(`session ${n}`, 'a');
  expect(owners.get('session 0')).toBe('a');
  owners.set('another session', 'b');
  expect(owners.get('session 1')).toBeUndefined();
  owners.set('yet another', 'b');
  expect([0, 2, 3].map((n) => owners.get(`session ${n}`))).toEqual(['a', undefined, 'a']);
  owners.delete('session 0');
  expect(owners.get('session 0')).toBeUndefined();
});
