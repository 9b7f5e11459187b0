import fc from 'fast-check';
import { shortId } from '../../src/sessions/session-ids.js';

test('a session ID is shown by its first 8 characters', () => {
  expect(shortId('3f2b8c1e-0d4a-4b7c-9a52-6a1f0e9d8c7b')).toBe('3f2b8c1e');
});

test('no ID, however short, is shown by more than its first half', () => {
  fc.assert(
    fc.property(fc.string(), (id) => {
      const shown = shortId(id);
      expect(id.startsWith(shown)).toBe(true);
      expect(shown.length).toBeLessThanOrEqual(Math.min(8, id.length / 2));
    }),
  );
});
