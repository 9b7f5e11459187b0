import fc from 'fast-check';
import { decodeRecord, encodeRecord } from '../../src/sessions/records/record-format.js';
import { AppState } from '../../src/sessions/records/app-state.js';
import { initializeBody } from '../support/harness.js';

const MAX_STATE = 64 * 1024;

const RECORD = {
  id: 'a',
  principal: undefined,
  initialize: initializeBody().params,
  protocolVersion: '2025-11-25',
  logLevel: undefined,
  subscriptions: [],
  openedAt: 0,
  age: 0,
};

describe('context.state', () => {
  test('gives back what was set, as JSON has it, whatever the key', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.jsonValue())), (entries) => {
        const state = new AppState();
        const model = new Map<string, string>();
        for (const [key, value] of entries) {
          void state.set(key, value);
          model.set(key, JSON.stringify(value));
        }
        for (const [key, text] of model) expect(state.get(key)).toEqual(JSON.parse(text));
        // And so it is read back from a record.
        const again = new AppState(JSON.parse(state.toString()) as Record<string, unknown>);
        for (const [key, text] of model) expect(again.get(key)).toEqual(JSON.parse(text));
        expect(JSON.parse(again.toString())).toEqual(JSON.parse(state.toString()));
      }),
    );
  });

  test('keeps keys of JavaScript’s own like any other', () => {
    const state = new AppState();
    for (const key of ['__proto__', 'constructor', 'toString']) {
      expect(state.get(key)).toBeUndefined();
      void state.set(key, { of: key });
    }
    const again = new AppState(JSON.parse(state.toString()) as Record<string, unknown>);
    for (const key of ['__proto__', 'constructor', 'toString']) expect(again.get(key)).toEqual({ of: key });
  });

  test('gives a copy: a change of it does not change the state', () => {
    const state = new AppState();
    const value = { list: [1] };
    void state.set('a', value);
    value.list.push(2);
    (state.get('a') as typeof value).list.push(3);
    expect(state.get('a')).toEqual({ list: [1] });
  });

  test('undefined removes', () => {
    const state = new AppState({ a: 1, b: 2 });
    void state.set('a', undefined);
    expect([state.get('a'), state.toString()]).toEqual([undefined, '{"b":2}']);
  });

  test('takes 64 KiB of keys and values in all, and refuses what would be more without a change', () => {
    const state = new AppState();
    void state.set('a', 'x'.repeat(MAX_STATE - 3));
    expect(() => state.set('b', '')).toThrow(RangeError);
    expect(() => state.set('a', 'ü'.repeat(MAX_STATE / 2))).toThrow(RangeError);
    expect(state.get('a')).toBe('x'.repeat(MAX_STATE - 3));
    expect(state.get('b')).toBeUndefined();
    void state.set('a', 'short');
    void state.set('b', '');
    expect(state.get('b')).toBe('');
  });

  test('refuses values that JSON cannot hold', () => {
    const state = new AppState();
    expect(() => state.set('a', () => 1)).toThrow(TypeError);
    expect(() => state.set('a', 1n)).toThrow(TypeError);
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    expect(() => state.set('a', circle)).toThrow(TypeError);
    expect(() => state.set(1 as never, 1)).toThrow(TypeError);
  });

  test('refuses values nested deeper than 1,000 levels, and stays unchanged', () => {
    const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
    const state = new AppState();
    void state.set('a', nested(1_000));
    for (const levels of [1_001, 2_000, 20_000]) expect(() => state.set('a', nested(levels))).toThrow(RangeError);
    expect(state.get('a')).toEqual(nested(1_000));
    // Brackets in strings do not count as levels, and neighbours do not add up.
    void state.set('a', ['['.repeat(2_000), '\\"[', Array.from({ length: 2_000 }, () => [])]);
    const record = encodeRecord(RECORD, new AppState({ a: nested(1_000) }).toString());
    expect(decodeRecord(record, RECORD.id).state).toEqual({ a: nested(1_000) });
  });

  test('without a store, a value is set at once', async () => {
    await expect(new AppState().set('a', 1)).resolves.toBeUndefined();
  });
});
