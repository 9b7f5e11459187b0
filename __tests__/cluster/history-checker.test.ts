import { violations, type Answer, type Effect, type Operation, type Resume } from './history-checker.js';

const SESSION = 's';
/** Owners of the epochs 0, 1 and 2. */
const OWNERS = [100, 200, 300];

type Change = Partial<Answer> | 'unanswered';
type UntimedAnswer = Omit<Answer, 'at'>;

const answerOf = (correct: UntimedAnswer, change: Change): UntimedAnswer | undefined =>
  change === 'unanswered' ? undefined : { ...correct, ...change };

/** A history whose operations follow one another, as clients of one session see it. */
class Script {
  readonly operations: Operation[] = [];
  readonly effects: Effect[] = [];
  readonly resumes: Resume[] = [];
  #stored: string[] = [];
  #now = 0;

  /** @param change - What differs from the correct answer, if there was one. */
  append(value: string, epoch: number, change: Change = {}, happens = true): this {
    if (happens) this.#stored = [...this.#stored, value];
    return this.#add('append', value, answerOf(this.#answer(value, epoch, this.#stored), change));
  }

  effect(value: string, epoch: number, change: Change = {}, times = 1): this {
    for (let n = 0; n < times; n += 1) this.effects.push({ value, owner: OWNERS[epoch]!, epoch, begunAt: this.#now });
    return this.#add('effect', value, answerOf(this.#answer(value, epoch), change));
  }

  list(epoch: number, list: readonly string[] = this.#stored): this {
    const value = `list ${this.#now}`;
    return this.#add('list', value, { ...this.#answer(value, epoch), list });
  }

  refused(kind: Operation['kind'], value: string): this {
    this.operations.push({ client: 'c', kind, value, invokedAt: (this.#now += 1), isRefused: true });
    return this;
  }

  get found(): string[] {
    return violations({ session: SESSION, operations: this.operations, effects: this.effects, resumes: this.resumes });
  }

  #answer(value: string, epoch: number, list?: readonly string[]): UntimedAnswer {
    return { session: SESSION, value, owner: OWNERS[epoch]!, epoch, ...(list && { list }) };
  }

  #add(kind: Operation['kind'], value: string, answer: UntimedAnswer | undefined): this {
    const invokedAt = (this.#now += 1);
    const at = (this.#now += 1);
    this.operations.push({ client: 'c', kind, value, invokedAt, ...(answer && { answer: { at, ...answer } }) });
    return this;
  }
}

const script = (): Script => new Script();

describe('the checker of histories (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects")', () => {
  test('accepts operations that each happened once, in two epochs', () => {
    expect(script().append('a', 0).effect('b', 0).append('c', 1).effect('d', 1).list(1).found).toEqual([]);
  });

  test('accepts an operation without an answer that happened, and one that did not', () => {
    const history = script()
      .append('a', 0, 'unanswered')
      .append('b', 0, 'unanswered', false)
      .effect('c', 0, 'unanswered');
    expect(history.effect('d', 0, 'unanswered', 0).list(0).found).toEqual([]);
  });

  test('accepts that an effect without an answer ends after the next owner has answered what was sent later', () => {
    const history = script().effect('late', 0, 'unanswered').effect('next', 1);
    history.effects.reverse();
    expect(history.found).toEqual([]);
  });

  test('accepts answers of two epochs that cross on their way to two clients', () => {
    const { operations, effects } = script().effect('a', 0).effect('b', 1);
    const crossed = operations.map((each, n) => ({ ...each, invokedAt: 1, answer: { ...each.answer!, at: 3 - n } }));
    expect(violations({ session: SESSION, operations: crossed, effects, resumes: [] })).toEqual([]);
  });

  test('finds an acknowledged append that is lost', () => {
    const history = script()
      .append('a', 0)
      .append('b', 0, { list: ['a', 'b'] }, false)
      .append('c', 1)
      .list(1);
    expect(history.found).toEqual([
      'session s: append b, answered by 100 in epoch 0 is lost',
      'session s: append b, answered by 100 in epoch 0 saw b where c came to be',
      'session s: append c, answered by 200 in epoch 1 saw 2 values, where 3 were due',
    ]);
  });

  test('finds an append that happened twice', () => {
    expect(script().append('a', 0).list(0, ['a', 'a']).found).toEqual(['session s: a was appended 2 times']);
  });

  test('finds an append without an answer that happened twice', () => {
    expect(script().append('a', 0, 'unanswered').list(0, ['a', 'a']).found).toEqual([
      'session s: a was appended 2 times',
    ]);
  });

  test('finds a value that no client sent', () => {
    expect(script().append('a', 0).list(0, ['a', 'x']).found).toEqual(['session s: x is there, and was never sent']);
  });

  test('finds an append that was refused and happened', () => {
    expect(script().refused('append', 'a').list(0, ['a']).found).toEqual([
      'session s: append a was refused, and is there',
    ]);
  });

  test('finds appends in another order than that in which they were acknowledged', () => {
    const history = script().append('a', 0).append('b', 0).list(0, ['b', 'a']);
    expect(history.found).toEqual([
      'session s: append a, answered by 100 in epoch 0 saw a where b came to be',
      'session s: append b, answered by 100 in epoch 0 saw a where b came to be',
    ]);
  });

  test('finds a list that lacks an append acknowledged before it was asked for', () => {
    expect(script().append('a', 0).list(0, []).list(0).found).toEqual([
      'session s: list list 2, answered by 100 in epoch 0 saw 0 values, where 1 were due',
    ]);
  });

  test('finds the answer to another request, and the answer of another session', () => {
    expect(script().effect('a', 0, { value: 'b' }).effect('c', 0, { session: 't' }).found).toEqual([
      'session s: c got the answer to b of s for effect a, answered by 100 in epoch 0',
      'session s: c got the answer to c of t for effect c, answered by 100 in epoch 0',
    ]);
  });

  test('finds an append that the owner of an older epoch acknowledged', () => {
    expect(script().append('a', 1).append('b', 0).list(1).found).toEqual([
      'session s: append b, answered by 100 in epoch 0, was sent after an answer of epoch 1',
    ]);
  });

  test('finds an epoch with two owners', () => {
    expect(script().append('a', 1).append('b', 1, { owner: 300 }).list(1).found).toEqual([
      'session s: epoch 1 has two owners: 200 and 300',
    ]);
  });

  test('finds an effect that happened twice, one that was acknowledged and did not happen, and one of another owner', () => {
    const history = script().effect('a', 0, {}, 2).effect('b', 0, {}, 0).effect('c', 0);
    history.effects.push({ ...history.effects.pop()!, epoch: 1, owner: OWNERS[1]! });
    expect(history.found).toEqual([
      'session s: effect a happened 2 times',
      'session s: effect b, answered by 100 in epoch 0 did not happen',
      'session s: effect c, answered by 100 in epoch 0 was carried out by 200 in epoch 1',
    ]);
  });

  test('finds an effect that was refused and happened, and one that was never asked for', () => {
    const history = script().refused('effect', 'a');
    history.effects.push(...['a', 'x'].map((value) => ({ value, owner: OWNERS[0]!, epoch: 0, begunAt: 0 })));
    expect(history.found).toEqual([
      'session s: effect a was refused, and happened',
      'session s: effect x happened, and was never asked for',
    ]);
  });

  test('finds an effect of an older epoch that was sent after the next owner had answered', () => {
    expect(script().effect('a', 1).effect('b', 0, 'unanswered').found).toEqual([
      'session s: effect b happened in epoch 0, and was sent after an answer of epoch 1',
      'session s: effect b began in epoch 0, after one of epoch 1',
    ]);
  });

  /** A call of epoch 0 and one of epoch 1 that were sent at the same time. The effect of epoch 0 begins 5 ms after that of epoch 1. */
  const overlapping = (): Script => {
    const history = script().effect('a', 0, 'unanswered').effect('b', 1, 'unanswered');
    history.effects.splice(0, 1, { ...history.effects[0]!, begunAt: history.effects[1]!.begunAt + 5 });
    return history;
  };

  test('finds an effect of an older epoch that began after one of a newer epoch, while both calls ran', () => {
    expect(overlapping().found).toEqual(['session s: effect a began in epoch 0, after one of epoch 1']);
  });

  test('accepts one such effect of a process that was stopped until just before, and no second one', () => {
    const history = overlapping();
    history.resumes.push({ owner: OWNERS[0]!, at: history.effects[0]!.begunAt - 1 });
    expect(history.found).toEqual([]);
    const late = { ...history.effects[0]!, value: 'c', begunAt: history.effects[0]!.begunAt + 1 };
    history.effects.push(late);
    expect(history.effect('c', 0, 'unanswered', 0).found).toEqual([
      'session s: effect c began in epoch 0, after one of epoch 1',
    ]);
  });

  test.each([
    ['another process', { owner: OWNERS[1]!, at: 0 }],
    ['the process long before', { owner: OWNERS[0]!, at: -2_000 }],
  ])('finds it also after a stop of %s', (_which, resume) => {
    const history = overlapping();
    history.resumes.push(resume);
    expect(history.found).toEqual(['session s: effect a began in epoch 0, after one of epoch 1']);
  });
});
