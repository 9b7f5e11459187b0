import fc from 'fast-check';
import { ServerPool, type ServerLease } from '../../src/endpoint/per-request/server-pool.js';
import { FakeClock } from '../support/fake-clock.js';

class FakeServer {
  closed = 0;
  onEnd = (): void => undefined;
  close(): void {
    this.closed += 1;
    this.onEnd();
  }
}

const limits = { maxServers: 2, maxServersPerPrincipal: 2, serverIdle: 1_000 };
const open = (onEnd: () => void): FakeServer => Object.assign(new FakeServer(), { onEnd });
/** Of a principal with servers of one kind. */
const of = (key: string | undefined) => (key === undefined ? undefined : { principal: key, key });
let clock: FakeClock;
let pool: ServerPool<FakeServer>;
beforeEach(() => {
  clock = new FakeClock();
  pool = new ServerPool(limits, clock);
});

describe('the servers of an endpoint (docs/transport.md, "MCP 2026-07-28")', () => {
  test('are shared by requests of one key, and by no others', () => {
    const [one, two, other] = ['a', 'a', 'b'].map((key) => pool.acquire(of(key), open));
    expect(two?.server).toBe(one?.server);
    expect(other?.server).not.toBe(one?.server);
    expect(pool.stats()).toEqual({ open: 2, idle: 0 });
  });

  test('are not shared without a key, and closed at the release', () => {
    const [one, two] = [pool.acquire(undefined, open), pool.acquire(undefined, open)];
    expect(two.server).not.toBe(one.server);
    one.release();
    one.release();
    expect([one.server.closed, two.server.closed]).toEqual([1, 0]);
  });

  test('are closed when they were idle for `serverIdle`, but not while a request has a lease', () => {
    const [one, two] = [pool.acquire(of('a'), open), pool.acquire(of('a'), open)];
    one.release();
    clock.advance(10_000);
    expect(one.server.closed).toBe(0);
    two.release();
    clock.advance(999);
    const again = pool.acquire(of('a'), open);
    expect(again.server).toBe(one.server);
    clock.advance(10_000);
    again.release();
    clock.advance(1_000);
    expect(one.server.closed).toBe(1);
    expect(pool.acquire(of('a'), open).server).not.toBe(one.server);
  });

  test('make room for one more by the one that is idle for longest', () => {
    const [a, b] = [pool.acquire(of('a'), open), pool.acquire(of('b'), open)];
    b.release();
    a.release();
    pool.acquire(of('c'), open);
    expect([a.server.closed, b.server.closed]).toEqual([0, 1]);
    expect(pool.acquire(of('a'), open).server).toBe(a.server);
  });

  test('belong to one request where no room can be made', () => {
    pool.acquire(of('a'), open);
    const b = pool.acquire(of('b'), open);
    const [own, other] = [pool.acquire(of('c'), open), pool.acquire(of('c'), open)];
    expect(other.server).not.toBe(own.server);
    own.release();
    expect(own.server.closed).toBe(1);
    b.release();
    expect(pool.acquire(of('c'), open).server).not.toBe(other.server);
    expect(b.server.closed).toBe(1);
  });

  test('are replaced after they have ended by themselves, as a failed opening does', () => {
    const failed = pool.acquire(of('a'), open);
    failed.server.onEnd();
    const next = pool.acquire(of('a'), open);
    expect(next.server).not.toBe(failed.server);
    failed.release();
    clock.advance(10_000);
    expect([failed.server.closed, pool.acquire(of('a'), open).server]).toEqual([0, next.server]);
  });

  test('are all closed with the endpoint', () => {
    const leases = ['a', 'b', undefined].map((key) => pool.acquire(of(key), open));
    leases[1]?.release();
    pool.close();
    for (const lease of leases) lease.release();
    expect(leases.map(({ server }) => server.closed)).toEqual([1, 1, 1]);
    expect(pool.stats()).toEqual({ open: 0, idle: 0 });
  });

  test('of one principal are bounded: one more takes the place of its own idle one, and of no other', () => {
    const small = new ServerPool<FakeServer>({ ...limits, maxServers: 3 }, clock);
    const alice = (key: string) => small.acquire({ principal: 'alice', key }, open);
    const bob = small.acquire({ principal: 'bob', key: 'b' }, open);
    bob.release();
    const [first, second] = [alice('1'), alice('2')];
    second.release();
    first.release();
    expect(alice('2').server).toBe(second.server);
    const third = alice('3');
    expect([first, second, bob].map(({ server }) => server.closed)).toEqual([1, 0, 0]);
    const [own, other] = [alice('4'), alice('4')];
    expect(other.server).not.toBe(own.server);
    third.release();
    for (let n = 5; n < 100; n += 1) alice(`${n}`).release();
    expect(small.acquire({ principal: 'bob', key: 'b' }, open).server).toBe(bob.server);
  });

  const command = fc.oneof(
    fc.record({ do: fc.constant('acquire'), key: fc.constantFrom('a', 'b', 'c', undefined), at: fc.constant(0) }),
    fc.record({ do: fc.constantFrom('release', 'end'), key: fc.constant(undefined), at: fc.nat(20) }),
    fc.record({ do: fc.constant('wait'), key: fc.constant(undefined), at: fc.constantFrom(1, 500, 1_000) }),
  );

  test('are open while leased and of one key each, at most `maxServers` are shared, and each is closed once (property)', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const time = new FakeClock();
        const servers = new ServerPool<FakeServer>(limits, time);
        const made: FakeServer[] = [];
        const keys = new Map<FakeServer, string | undefined>();
        const leases: ServerLease<FakeServer>[] = [];
        const ended = new Set<FakeServer>();
        for (const { do: what, key, at } of commands) {
          const lease = leases[at % Math.max(1, leases.length)];
          if (what === 'acquire') {
            const got = servers.acquire(of(key), (onEnd) => {
              const server = open(onEnd);
              made.push(server);
              keys.set(server, key);
              return server;
            });
            expect([keys.get(got.server), got.server.closed, ended.has(got.server)]).toEqual([key, 0, false]);
            if (key === undefined) expect(leases.map(({ server }) => server)).not.toContain(got.server);
            leases.push(got);
          } else if (what === 'wait') time.advance(at);
          else if (what === 'release' && lease !== undefined) leases.splice(leases.indexOf(lease), 1)[0]?.release();
          else if (lease !== undefined) {
            ended.add(lease.server);
            lease.server.onEnd();
          }
          for (const { server } of leases) expect(server.closed).toBe(0);
          expect(servers.stats().idle).toBeLessThanOrEqual(limits.maxServers);
        }
        for (const lease of leases) lease.release();
        time.advance(1_000);
        for (const server of made)
          expect([server.closed, ended.has(server)]).toEqual([ended.has(server) ? 0 : 1, ended.has(server)]);
        expect(servers.stats()).toEqual({ open: 0, idle: 0 });
      }),
    );
  });
});
