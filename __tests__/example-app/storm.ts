import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import type { SessionStore } from 'express-mcp-router/stores';
import { fileStore } from '../../example-app/src/file-store.js';
import { stepsOf, text } from './storm-records.js';

// A process to be killed: it writes to a file store for ever, and says of every write when it was acknowledged.

const TTL = 3_600_000;
const WRITERS = 20;

/** The life of a record; every step leaves it in a state of its own. */
const STEPS: ((store: SessionStore, id: string) => Promise<boolean>)[] = [
  (store, id) => store.create(id, text(id, 0), undefined, TTL),
  (store, id) => store.update(id, 0, text(id, 1), TTL),
  (store, id) => store.claim(id, { owner: undefined, epoch: 0 }, 'storm'),
  (store, id) => store.update(id, 1, text(id, 2), TTL),
  (store, id) => store.destroy(id, 1),
];

const [path = '', round = ''] = process.argv.slice(2);
const { store } = await fileStore(path);

async function write(writer: number): Promise<void> {
  for (let n = 0; ; n += 1) {
    const id = `${round}-${writer}-${n}`;
    for (const [done, run] of STEPS.slice(0, stepsOf(id)).entries()) {
      assert.equal(await run(store, id), true);
      writeSync(1, `${id} ${done + 1}\n`); // at once: what Node has buffered would be lost with the process
    }
  }
}

await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
