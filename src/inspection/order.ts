import type { ListQuery, Order, SessionRow } from './views.js';

type Ordered = Omit<SessionRow, 'key' | 'shortId'>;

/** The value that each order compares. Two sessions with equal values are in the order in which they were opened. */
const VALUES: Readonly<Record<Order, (row: Ordered) => string | number>> = {
  age: ({ ageMs }) => ageMs,
  idle: ({ idleMs }) => idleMs,
  requests: ({ requests }) => requests,
  streams: ({ streams }) => streams.standalone + streams.request,
  state: ({ state, orphanCause = '' }) => `${state} ${orphanCause}`,
  node: ({ node = '' }) => node,
  client: ({ clientInfo }) => clientText(clientInfo),
  principal: ({ principal = '' }) => principal.toLowerCase(),
};

/** Characters of a client's name and version that operators see. A client may send thousands. */
const MAX_SHOWN = 128;

export const shortened = ({ name, version }: NonNullable<Ordered['clientInfo']>) => ({
  name: name.slice(0, MAX_SHOWN),
  version: version.slice(0, MAX_SHOWN),
});

function clientText(clientInfo: Ordered['clientInfo']): string {
  if (clientInfo === undefined) return '';
  const { name, version } = shortened(clientInfo);
  return `${name} ${version}`.toLowerCase();
}

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);

/** Compares two sessions in the order of a query. Each node uses it, and so does the node that puts their lists together. */
export function compareRows({ order, descending }: ListQuery, a: Ordered, b: Ordered): number {
  const valueOf = VALUES[order];
  const difference = compare(valueOf(a), valueOf(b)) || compare(a.openedAt, b.openedAt);
  return descending ? -difference : difference;
}
