import { EXPRESSES } from '../support/expresses.js';
import { buildProgram, type Program } from '../support/program.js';
import { serve, SERVINGS } from './servings.js';

// Other tests in a worker change V8's hidden classes, so each count has a process of its own.
let countHiddenClasses: Program;
beforeAll(() => {
  countHiddenClasses = buildProgram('__tests__/http/count-hidden-classes.ts');
});

describe.each([
  ['Express 5', process.env.EXPRESS === '4' ? 'express4' : 'express'],
  ['Express 4', 'express4'],
])('%s', (_name, moduleName) => {
  test.each(SERVINGS)(
    'with %s: answered requests have hidden classes in common, and so have their responses (nodejs/node#37457)',
    async (servingName) => {
      const printed = await countHiddenClasses([moduleName, servingName], ['--allow-natives-syntax']);
      expect(Number(printed)).toBeGreaterThanOrEqual(2);
      expect(Number(printed)).toBeLessThan(6);
    },
  );
});

describe.each(EXPRESSES)('%s', (_name, express) => {
  test.each(SERVINGS)('with %s: what middleware has set on a response stands', async (_how, serving) => {
    const app = await serve(express, serving, (_req, res, next) => {
      res.sendDate = false;
      res.setHeader('X-By', 'middleware');
      next();
    });
    const { headers } = await app.ping();
    await app.stop();
    expect(headers.get('x-by')).toBe('middleware');
    expect(headers.has('date')).toBe(false);
  });
});
