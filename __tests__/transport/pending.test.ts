import { RequestMemory } from '../../src/transport/request-memory.js';
import type { JSONRPCRequest, RequestId } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { DeadlineQueue } from '../../src/runtime/deadline-queue.js';
import { Refusal } from '../../src/errors.js';
import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import type { TransportSide } from '../../src/transport/transport-types.js';
import { PendingRequest, PendingRequests } from '../../src/transport/pending-requests.js';
import type { RequestStream } from '../../src/transport/request-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { runs } from '../support/runs.js';

const REQUEST_TIMEOUT = 1_000;

/** Few enough that they meet, and each pair of them that JavaScript could take for one another. */
const id = fc.constantFrom<RequestId>(0, '0', '', 1, '1', 2);
const deed = fc.oneof(
  fc.record({ kind: fc.constant('come' as const), ids: fc.array(id, { minLength: 1, maxLength: 3 }) }),
  fc.record({ kind: fc.constant('settle' as const), id }),
  fc.record({ kind: fc.constant('touch' as const), id }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: REQUEST_TIMEOUT }) }),
);

test('requests in flight are known by their IDs, 1 and "1" apart, until each is settled, and time out each in its own time (spec 2025-11-25, basic: "MUST NOT have been previously used")', () => {
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 40 }), (deeds) => {
      const clock = new FakeClock();
      const events = new Emitter<CoreEvents>(() => undefined);
      const observed: unknown[] = [];
      events.on('requestStarted', (request, message) => observed.push(['started', request, message.id]));
      events.on('requestSettled', (request, outcome) => observed.push(['settled', request, outcome]));
      const late: PendingRequest[] = [];
      const unanswered = new DeadlineQueue<{ timeOut(): void }>(clock, REQUEST_TIMEOUT, (request) => request.timeOut());
      const requestMemory = new RequestMemory(Infinity);
      const context = { clock, events, unanswered, requestMemory, maxRequestsPerSession: Infinity };
      const side = { context } as unknown as TransportSide;
      const stream = { settle: () => undefined, settled: true, events: { streamId: '' } } as unknown as RequestStream;
      const pending = new PendingRequests(side);
      const settled: PendingRequest[] = [];
      const expected: unknown[] = [];
      /** What is in flight, by what a client would call it; when it is due. */
      const model = new Map<RequestId, { request: PendingRequest; due: number }>();

      const come = (ids: readonly RequestId[]): void => {
        const requests = ids.map((each) => ({ jsonrpc: '2.0', id: each, method: 'ping' })) as JSONRPCRequest[];
        const isNew = new Set(ids).size === ids.length && !ids.some((each) => model.has(each));
        if (!isNew) {
          expect(() => pending.checkRoom(requests, 0)).toThrow(Refusal);
          return;
        }
        pending.checkRoom(requests, 0);
        for (const message of requests) {
          const each = message.id;
          const taker = { timeOut: (request: PendingRequest) => void late.push(request) };
          const request = new PendingRequest({ jsonrpc: '2.0', id: each, method: 'ping' }, clock.now(), stream, taker);
          expected.push(['started', request, each]);
          model.set(each, { request, due: clock.now() + REQUEST_TIMEOUT });
          pending.add(request, message, false);
        }
      };
      const settle = (each: RequestId): void => {
        const held = model.get(each);
        if (held === undefined) return;
        pending.settle(held.request, 'ok');
        expected.push(['settled', held.request, 'ok']);
        model.delete(each);
        settled.push(held.request);
      };

      for (const each of deeds) {
        const held = 'id' in each ? model.get(each.id) : undefined;
        if (each.kind === 'come') come(each.ids);
        if (each.kind === 'settle') settle(each.id);
        if (each.kind === 'touch' && held !== undefined) {
          pending.touch(held.request);
          held.due = clock.now() + REQUEST_TIMEOUT;
        }
        if (each.kind === 'wait') {
          clock.advance(each.ms);
          const due = [...model.values()].filter((one) => one.due <= clock.now()).map(({ request }) => request);
          expect(new Set(late)).toEqual(new Set(due));
          for (const request of late.splice(0)) settle(request.id);
        }

        const inFlight = [...model.values()].map(({ request }) => request);
        expect(pending.size).toBe(inFlight.length);
        expect(new Set(pending.all())).toEqual(new Set(inFlight));
        for (const request of inFlight) expect(pending.get(request.key)).toBe(request);
        // Settled twice, it would take another of its name with it.
        for (const request of settled) pending.settle(request, 'ok');
        expect(pending.size).toBe(inFlight.length);
      }
      // Compared by identity first: `toEqual` alone would take one request for another.
      expect(observed.length).toBe(expected.length);
      expect((observed as unknown[][]).every(([, request], n) => request === (expected as unknown[][])[n]![1])).toBe(
        true,
      );
      expect(observed).toEqual(expected);
    }),
    { numRuns: runs(100) },
  );
});
