import { cached } from '../src/runtime/checks.js';

test('a result is made once for each text, until there are as many as may be remembered', () => {
  const made: string[] = [];
  const upperCase = cached(2, (text) => {
    made.push(text);
    return text.toUpperCase();
  });
  expect(['a', 'b', 'a', 'b'].map(upperCase)).toEqual(['A', 'B', 'A', 'B']);
  expect(made).toEqual(['a', 'b']);
  expect(['c', 'c', 'a'].map(upperCase)).toEqual(['C', 'C', 'A']);
  expect(made).toEqual(['a', 'b', 'c', 'a']);
});
