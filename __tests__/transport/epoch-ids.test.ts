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
const params = fc.dictionary(
  fc.string().filter((key) => key !== '_meta' && key !== '__proto__'),
  fc.jsonValue(),
);

/** The fields of a message that may carry an ID of ours. */
interface Marked {
  readonly id: number;
  readonly params: { readonly requestId: number; readonly _meta: { readonly progressToken: number } };
}

const request = (id: number, params?: object): JSONRPCMessage =>
  ({ jsonrpc: '2.0', id, method: 'roots/list', ...(params && { params }) }) as JSONRPCMessage;
const answer = (id: unknown): JSONRPCMessage => ({ jsonrpc: '2.0', id, result: {} }) as JSONRPCMessage;
const notification = (method: string, params: object): JSONRPCMessage =>
  ({ jsonrpc: '2.0', method, params }) as JSONRPCMessage;
const progress = (progressToken: unknown) => notification('notifications/progress', { progressToken, progress: 1 });
const sent = (ids: EpochIds, message: JSONRPCMessage) => ids.outgoing(message) as unknown as Marked;
/** As a message looks on the other side of the wire. */
const overTheWire = (message: unknown) => JSON.parse(JSON.stringify(message)) as Marked;

describe('the IDs of server-to-client requests', () => {
  test('come back as they went out, within an epoch, also from a client that answers with a string', () => {
    fc.assert(
      fc.property(epoch, n, fc.boolean(), (life, id, asString) => {
        const ids = new EpochIds(life);
        const { id: marked } = overTheWire(ids.outgoing(request(id)));
        expect(Number.isSafeInteger(marked)).toBe(true);
        expect(ids.incoming(answer(asString ? String(marked) : marked))).toEqual(answer(id));
      }),
    );
  });

  test('never come back in another epoch, earlier or later: the answer resolves nothing', () => {
    fc.assert(
      fc.property(epoch, fc.nat(MAX_EPOCH), n, fc.boolean(), (later, other, id, asString) => {
        fc.pre(later !== other);
        const { id: marked } = sent(new EpochIds(other), request(id));
        expect(new EpochIds(later).incoming(answer(asString ? String(marked) : marked))).toBeUndefined();
      }),
    );
  });

  test('differ between any two requests of all epochs', () => {
    const life = fc.nat(MAX_EPOCH);
    fc.assert(
      fc.property(life, n, life, n, (epochA, a, epochB, b) => {
        fc.pre(epochA !== epochB || a !== b);
        const idOf = (each: number, id: number) => sent(new EpochIds(each), request(id)).id;
        expect(idOf(epochA, a)).not.toBe(idOf(epochB, b));
      }),
    );
  });

  test('are what a cancellation and the progress of that request carry', () => {
    fc.assert(
      fc.property(epoch, n, params, (life, id, rest) => {
        const ids = new EpochIds(life);
        const asked = sent(ids, request(id, { ...rest, _meta: { progressToken: id, other: 1 } }));
        expect(asked.params).toEqual({ ...rest, _meta: { progressToken: asked.id, other: 1 } });
        const cancelled = notification('notifications/cancelled', { requestId: id, reason: 'r' });
        expect(sent(ids, cancelled).params).toEqual({ requestId: asked.id, reason: 'r' });
        expect(ids.incoming(progress(asked.params._meta.progressToken))).toEqual(progress(id));
      }),
    );
  });

  test('are changed in no other message', () => {
    fc.assert(
      fc.property(epoch, params, (life, rest) => {
        const ids = new EpochIds(life);
        const log = notification('notifications/message', rest);
        expect(ids.outgoing(log)).toBe(log);
        expect(ids.incoming(log)).toBe(log);
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
        const asked = sent(ids, request(id, { _meta: { progressToken: token } }));
        expect(asked.params._meta.progressToken).toBe(token);
        expect(ids.incoming(progress(token))).toEqual(progress(token));
      }),
    );
  });

  test('map a number that a server uses as a token, in both directions', () => {
    fc.assert(
      fc.property(epoch, n, n, (life, id, token) => {
        const ids = new EpochIds(life);
        const asked = sent(ids, request(id, { _meta: { progressToken: token } }));
        expect(ids.incoming(progress(asked.params._meta.progressToken))).toEqual(progress(token));
      }),
    );
  });

  test('are changed in a copy, as the SDK keeps the message that it sends', () => {
    fc.assert(
      fc.property(epoch, n, (life, id) => {
        const message = request(id, { _meta: { progressToken: id } });
        const before = structuredClone(message);
        new EpochIds(life).outgoing(message);
        expect(message).toEqual(before);
      }),
    );
  });

  test('are the SDK’s own in epoch 0, and no message is copied', () => {
    const ids = new EpochIds(0);
    const messages = [
      request(0, { _meta: { progressToken: 0 } }),
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
