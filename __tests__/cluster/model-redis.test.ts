import fc from 'fast-check';
import {
  DEAD,
  fieldsOf,
  LEFT,
  nodesKey,
  REMOVE_LAST,
  RENEW,
  REPLACE_FIELD,
} from '../../src/cluster/membership/lease.js';
import { redisEventStore, redisStore, type SendCommand } from '../../src/stores/redis.js';
import { recordKey } from '../../src/stores/redis-store.js';
import { sessionHash } from '../../src/stores/session-event-store.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { ModelRedis } from './model-redis.js';
import { runs } from '../support/runs.js';

let server: RedisServer;
let redis: ConnectedRedis;
beforeAll(async () => {
  server = await RedisServer.start();
  redis = await connectRedis(server.url);
});
afterAll(async () => {
  redis.close();
  await server.kill();
});

const MINUTE = 60_000;
const IDS = ['a', 'b'];
const OWNERS = ['x', 'y'];
let prefixes = 0;

/** What a node does with Redis, on one of the two. */
type Step = (send: SendCommand, prefix: string) => Promise<unknown>;

/** Entries have the time of Redis in their IDs; only their order counts. */
const withoutId = ([, fields]: [string, string[]]): string[] => fields;

const STEPS: fc.Arbitrary<Step> = fc
  .record({
    id: fc.constantFrom(...IDS),
    owner: fc.constantFrom(...OWNERS),
    other: fc.constantFrom(...OWNERS),
    epoch: fc.nat({ max: 2 }),
    what: fc.nat({ max: 15 }),
  })
  .map(({ id, owner, other, epoch, what }): Step => {
    return async (send, prefix) => {
      const store = redisStore({ sendCommand: send, prefix });
      const fence = { key: recordKey(prefix, id), owner, epoch };
      const events = redisEventStore({ sendCommand: send, prefix }) as {
        storeEvent(streamId: string, message: object, by?: typeof fence): Promise<string>;
      };
      const stream = `${sessionHash(id)}-get`;
      switch (what) {
        case 0:
          return store.create(id, '{}', owner, MINUTE);
        case 1:
          return store.get(id);
        case 2:
          return store.update(id, epoch, `{"of":"${owner}"}`, MINUTE, other === 'x' ? owner : undefined);
        case 3:
          return store.touch(id, epoch, MINUTE, other === 'x' ? owner : undefined);
        case 4:
          return store.claim(id, { owner, epoch }, other);
        case 5:
          return store.release(id, owner, epoch);
        case 6:
          return store.destroy(id, epoch, other === 'x' ? owner : undefined);
        case 7:
          return store.destroy(id);
        case 8:
          return (await events.storeEvent(stream, { epoch, owner }, fence)).startsWith(stream);
        case 9: {
          const entries = await send('XRANGE', `${prefix}{${sessionHash(id)}}:events`, '-', '+');
          return (entries as [string, string[]][]).map(withoutId);
        }
        case 10:
          return send('HSETNX', nodesKey(prefix), owner, `${epoch} {}`);
        case 11:
          return RENEW.run(send, nodesKey(prefix), owner, `${epoch + 1} {}`, String(epoch), String(epoch + 1));
        case 12:
          return REPLACE_FIELD.run(send, nodesKey(prefix), owner, `${epoch} {}`, other === 'x' ? '' : DEAD);
        case 13:
          return send('HSET', nodesKey(prefix), owner, LEFT);
        case 14:
          return REMOVE_LAST.run(send, nodesKey(prefix), owner);
        default:
          return [...fieldsOf(await send('HGETALL', nodesKey(prefix)))].sort();
      }
    };
  });

/** What comes of a step: a value, or the kind of error. */
async function outcome(step: Step, send: SendCommand, prefix: string): Promise<unknown> {
  try {
    return await step(send, prefix);
  } catch (error) {
    return (error as Error).name === 'Fenced' ? 'fenced' : /NORECORD/.exec(String(error))?.[0];
  }
}

test('the Redis of the model answers as the real one does, to any commands in any order', async () => {
  const seen = new Set<unknown>();
  await fc.assert(
    fc.asyncProperty(fc.array(STEPS, { minLength: 5, maxLength: 40 }), async (steps) => {
      const prefix = `model-${(prefixes += 1)}:`;
      const model = new ModelRedis(() => 1_000);
      const ofModel: SendCommand = (command, ...args) => Promise.resolve().then(() => model.do(command, ...args));
      for (const step of steps) {
        const real = await outcome(step, redis.ask, prefix);
        expect(await outcome(step, ofModel, prefix)).toEqual(real);
        seen.add(real);
      }
    }),
    { numRuns: runs(60) },
  );
  for (const real of [true, false, 'fenced', 'NORECORD', 0, 1]) expect(seen).toContain(real);
});
