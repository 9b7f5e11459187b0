// Orders the test files for scripts/mutation.mjs: the smallest first. A mutant's run ends with the first test that fails.
const { statSync } = require('node:fs');
const { default: Sequencer } = require('@jest/test-sequencer');

module.exports = class QuickTestsFirst extends Sequencer {
  sort(tests) {
    const sized = Array.from(tests, (test) => ({ test, size: statSync(test.path).size }));
    return sized.toSorted((a, b) => a.size - b.size).map(({ test }) => test);
  }
};
