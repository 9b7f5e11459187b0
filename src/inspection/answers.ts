import type { SessionStats } from '../events.js';
import { isObject } from '../runtime/checks.js';
import type {
  InspectAnswer,
  InspectRequest,
  NodeList,
  Rates,
  SessionDetail,
  SessionRow,
  TimelineEntry,
} from './views.js';

type Test = (value: unknown) => boolean;

const isText: Test = (value) => typeof value === 'string';
const isNumber: Test = (value) => typeof value === 'number';
const isFact: Test = (value) => isText(value) || isNumber(value);

const optional =
  (test: Test): Test =>
  (value) =>
    value === undefined || test(value);
const orNull =
  (test: Test): Test =>
  (value) =>
    value === null || test(value);
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.every(test);

/** An object with these fields. Newer versions may add others. */
const having =
  <T>(fields: { readonly [K in keyof Required<T>]: Test }): Test =>
  (value) =>
    isObject(value) && Object.entries<Test>(fields).every(([name, test]) => test(value[name]));

const isStats = having<SessionStats>({
  initializing: isNumber,
  active: isNumber,
  orphaned: isNumber,
  hibernated: isNumber,
});
const isRates = having<Rates>({
  settled: isNumber,
  failed: isNumber,
  opened: isNumber,
  closed: isNumber,
  rejected: isNumber,
});
const isRow = having<SessionRow>({
  key: isText,
  shortId: isText,
  principal: optional(isText),
  state: isText,
  orphanCause: optional(isText),
  protocolVersion: optional(isText),
  clientInfo: optional(having<NonNullable<SessionRow['clientInfo']>>({ name: isText, version: isText })),
  ageMs: isNumber,
  idleMs: isNumber,
  requests: isNumber,
  streams: having<SessionRow['streams']>({ standalone: isNumber, request: isNumber }),
  openedAt: isNumber,
  node: optional(isText),
});
const isEntry = having<TimelineEntry>({
  number: isNumber,
  at: isNumber,
  event: isText,
  facts: (value) => isObject(value) && Object.values(value).every(isFact),
});

const ANSWERS: Readonly<Record<InspectRequest['kind'], Test>> = {
  list: having<NodeList>({ stats: isStats, rates: isRates, found: isNumber, rows: listOf(isRow) }),
  detail: orNull(having<SessionDetail>({ session: optional(isRow), timeline: listOf(isEntry) })),
  find: orNull(isText),
};

/** Whether another node, which may be of another version, gave an answer that this one can read. */
export function isAnswerTo({ kind }: InspectRequest, value: unknown): value is InspectAnswer {
  return ANSWERS[kind](value);
}
