import fc from 'fast-check';
import { HttpRefusal } from '../../src/admin/http.js';
import { toClose, toClosePrincipal, toKey, toListChange, toListQuery } from '../../src/admin/requests.js';
import { LISTED_STATES, ORDERS } from '../../src/inspection/views.js';

/** The result, or undefined when the request was refused as the page refuses requests. */
function resultOf<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(HttpRefusal);
    expect((error as HttpRefusal).status).toBe(400);
    return undefined;
  }
}

const aParam = fc.tuple(
  fc.oneof(fc.constantFrom('state', 'search', 'order', 'direction', 'offset', 'limit', 'key'), fc.string()),
  fc.oneof(fc.constantFrom(...ORDERS, ...LISTED_STATES, 'ascending', '10', '0', '101', '-1'), fc.string()),
);

test('a query for sessions is refused with 400, or within its bounds, whatever it has', () => {
  fc.assert(
    fc.property(fc.array(aParam, { maxLength: 6 }), (params) => {
      const query = resultOf(() => toListQuery(new URLSearchParams(params)));
      if (query === undefined) return;
      expect(ORDERS).toContain(query.order);
      expect([undefined, ...LISTED_STATES]).toContain(query.state);
      expect(query.limit).toBeGreaterThan(0);
      expect(query.limit).toBeLessThanOrEqual(100);
      expect(query.offset).toBeGreaterThanOrEqual(0);
      expect(query.search.length).toBeLessThanOrEqual(200);
      expect(new Set(params.map(([name]) => name)).size).toBe(params.length);
    }),
  );
});

test('a change is refused with 400, or has only what its body says, whatever the body is', () => {
  const key = '0123456789abcdef'.repeat(2);
  const aBody = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        key: fc.oneof(fc.constant(key), fc.jsonValue()),
        principal: fc.oneof(fc.string(), fc.jsonValue()),
        list: fc.oneof(fc.constantFrom('tools', 'prompts', 'resources'), fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
  );
  fc.assert(
    fc.property(aBody, (body) => {
      const fields = body as { key?: unknown; principal?: unknown; list?: unknown };
      const closed = resultOf(() => toClose(body));
      if (closed !== undefined) expect(body).toEqual({ key: closed });
      const principal = resultOf(() => toClosePrincipal(body));
      if (principal !== undefined) expect(body).toEqual({ principal });
      const change = resultOf(() => toListChange(body));
      if (change !== undefined)
        expect(change).toEqual({ key: fields.key, principal: fields.principal, list: fields.list });
    }),
  );
  expect(toKey(new URLSearchParams({ key }))).toBe(key);
  expect(resultOf(() => toKey(new URLSearchParams({ key: key.toUpperCase() })))).toBeUndefined();
});
