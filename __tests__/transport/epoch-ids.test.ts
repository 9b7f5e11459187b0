import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { EpochIds } from '../../src/transport/epoch-ids.js';

const SPAN = 2 ** 32;
/** As many lives as fit into a number that JSON can carry without loss. */
const MAX_EPOCH = 2 ** 20;

const epoch = fc.integer({ min: 1, max: MAX_EPOCH });
/** What the SDK's server counts its requests with. */
const n = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: SPAN - 1 }));
const text = fc.string().filter((value) => Number.isNaN(Number(value)));
const params = fc.dictionary(fc.string().filter((key) => key !== '_meta' && key !== '__proto__'), fc.jsonValue());

const request = (id: number, more: object = {}): any => ({ jsonrpc: '2.0', id, method: 'roots/list', ...more });
const answer = (id: unknown): any => ({ jsonrpc: '2.0', id, result: {} });
const progress = (progressToken: unknown): any => ({
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken, progress: 1 },
});
/** As a message looks on the other side of the wire. */
const overTheWire = (message: unknown): JSONRPCMessage => JSON.parse(JSON.stringify(message));

describe('the IDs of server-to-client requests', () => {
  test('come back as they went out, within an epoch, also from a client that answers with a string', () => {
    fc.assert(
      fc.property(epoch, n, fc.boolean(), (life, id, asString) => {
        const ids = new EpochIds(life);
        const { id: sent } = overTheWire(ids.outgoing(request(id))) as { id: number };
        expect(Number.isSafeInteger(sent)).toBe(true);
        expect(ids.incoming(answer(asString ? String(sent) : sent))).toEqual(answer(id));
      }),
    );
  });

  test('never come back in another epoch, earlier or later: the answer resolves nothing', () => {
    fc.assert(
      fc.property(epoch, fc.nat(MAX_EPOCH), n, fc.boolean(), (later, other, id, asString) => {
        fc.pre(later !== other);
        const { id: sent } = new EpochIds(other).outgoing(request(id)) as { id: number };
        expect(new EpochIds(later).incoming(answer(asString ? String(sent) : sent))).toBeUndefined();
      }),
    );
  });

  test('differ between any two requests of all lives', () => {
    const life = fc.nat(MAX_EPOCH);
    fc.assert(
      fc.property(life, n, life, n, (epochA, a, epochB, b) => {
        fc.pre(epochA !== epochB || a !== b);
        const idOf = (each: number, id: number) => (new EpochIds(each).outgoing(request(id)) as { id: number }).id;
        expect(idOf(epochA, a)).not.toBe(idOf(epochB, b));
      }),
    );
  });

  test('are what a cancellation and the progress of that request carry', () => {
    fc.assert(
      fc.property(epoch, n, params, (life, id, rest) => {
        const ids = new EpochIds(life);
        const asked = ids.outgoing(request(id, { params: { ...rest, _meta: { progressToken: id, other: 1 } } })) as any;
        expect(asked.params).toEqual({ ...rest, _meta: { progressToken: asked.id, other: 1 } });
        const cancelled: any = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id, reason: 'r' } };
        expect((ids.outgoing(cancelled) as any).params).toEqual({ requestId: asked.id, reason: 'r' });
        expect(ids.incoming(progress(asked.params._meta.progressToken))).toEqual(progress(id));
      }),
    );
  });

  test('do not show in anything else', () => {
    fc.assert(
      fc.property(epoch, params, (life, rest) => {
        const ids = new EpochIds(life);
        const notification: any = { jsonrpc: '2.0', method: 'notifications/message', params: rest };
        expect(ids.outgoing(notification)).toBe(notification);
        expect(ids.incoming(notification)).toBe(notification);
        // The client's own requests have IDs of its own.
        expect(ids.incoming(request(1))).toEqual(request(1));
        expect(ids.outgoing(answer('the client’s'))).toEqual(answer('the client’s'));
      }),
    );
  });

  test('leave alone the progress tokens that a server made itself', () => {
    fc.assert(
      fc.property(epoch, n, text, (life, id, token) => {
        const ids = new EpochIds(life);
        const asked = ids.outgoing(request(id, { params: { _meta: { progressToken: token } } })) as any;
        expect(asked.params._meta.progressToken).toBe(token);
        expect(ids.incoming(progress(token))).toEqual(progress(token));
      }),
    );
  });

  test('map a number that a server made a token of, there and back', () => {
    fc.assert(
      fc.property(epoch, n, n, (life, id, token) => {
        const ids = new EpochIds(life);
        const asked = ids.outgoing(request(id, { params: { _meta: { progressToken: token } } })) as any;
        expect(ids.incoming(progress(asked.params._meta.progressToken))).toEqual(progress(token));
      }),
    );
  });

  test('do not change what is sent: the SDK keeps the message to itself', () => {
    fc.assert(
      fc.property(epoch, n, (life, id) => {
        const message = request(id, { params: { _meta: { progressToken: id } } });
        const before = structuredClone(message);
        new EpochIds(life).outgoing(message);
        expect(message).toEqual(before);
      }),
    );
  });

  test('are the SDK’s own in a first life, and no message is touched', () => {
    const ids = new EpochIds(0);
    const messages = [
      request(0, { params: { _meta: { progressToken: 0 } } }),
      answer(5),
      answer('5'),
      progress('mine'),
      { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 3 } },
      { jsonrpc: '2.0', error: { code: 1, message: 'no id' } },
    ] as JSONRPCMessage[];
    for (const message of messages) {
      expect(ids.outgoing(message)).toBe(message);
      expect(ids.incoming(message)).toBe(message);
    }
  });

  test('of an answer may be missing (an error to what could not be read), and then it answers nothing', () => {
    const lost = { jsonrpc: '2.0', error: { code: -32700, message: 'Parse error' } } as JSONRPCMessage;
    expect(new EpochIds(1).incoming(lost)).toBeUndefined();
  });

  test('of a cancellation may be missing, as the schema has it', () => {
    const vague = { jsonrpc: '2.0', method: 'notifications/cancelled', params: {} } as JSONRPCMessage;
    expect(new EpochIds(1).outgoing(vague)).toBe(vague);
  });
});
