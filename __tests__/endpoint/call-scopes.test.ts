import { CallScopes } from '../../src/endpoint/per-request/bridge/call-scopes.js';
import { Deferred } from '../support/waiting.js';

const server = {};

describe('the scopes of what servers work on', () => {
  test('are told apart by work that runs at the same time, from its first step to its last', async () => {
    const scopes = new CallScopes();
    const seen: unknown[] = [];
    const gate = new Deferred();
    const work = async (): Promise<void> => {
      seen.push(scopes.current()?.id);
      await gate.promise;
      seen.push(scopes.current()?.id);
    };
    const done = [1, 2].map(
      (id) => new Promise<void>((resolve) => scopes.enter({ server, id }, () => void work().then(resolve))),
    );
    expect(scopes.current()).toBeUndefined();
    gate.resolve();
    await Promise.all(done);
    expect(seen).toEqual([1, 2, 1, 2]);
  });

  test('end with the last that is in use: work that still runs has none, also while a later one is in use', async () => {
    const scopes = new CallScopes();
    const gate = new Deferred();
    let late: Promise<unknown> | undefined;
    scopes.enter({ server, id: 1 }, () => {
      late = gate.promise.then(() => scopes.current());
    });
    scopes.enter({ server, id: 2 }, () => undefined);
    scopes.leave();
    scopes.leave();
    gate.resolve();
    expect(await late).toBeUndefined();
    scopes.enter({ server, id: 3 }, () => expect(scopes.current()?.id).toBe(3));
    expect(scopes.current()).toBeUndefined();
  });
});
