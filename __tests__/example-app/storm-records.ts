import type { StoredRecord } from 'express-mcp-router/stores';

const BIG = 'x'.repeat(2_000);

export const text = (id: string, version: number): string => JSON.stringify({ id, version, big: BIG });

/** How many steps the life of a record has: every second one is destroyed, with the fifth. */
export const stepsOf = (id: string): number => (Number(id.split('-').at(-1)) % 2 === 0 ? 4 : 5);

/** The record of an ID when so many of its steps were done. */
export function recordAfter(id: string, steps: number): StoredRecord | undefined {
  return [
    undefined,
    { data: text(id, 0), epoch: 0, owner: undefined },
    { data: text(id, 1), epoch: 0, owner: undefined },
    { data: text(id, 1), epoch: 1, owner: 'storm' },
    { data: text(id, 2), epoch: 1, owner: 'storm' },
    undefined,
  ][steps];
}
