/** What a client asked for. Each value is asked for once; `list` asks for the values that were appended. */
export interface Operation {
  readonly client: string;
  readonly kind: 'append' | 'effect' | 'list';
  readonly value: string;
  /** Both times are of one monotonic clock. */
  readonly invokedAt: number;
  /** Absent when the client got no answer, or one that does not say what became of the operation. */
  readonly answer?: Answer;
  /** Whether the answer says that nothing was done. */
  readonly isRefused?: boolean;
}

export interface Answer {
  readonly at: number;
  readonly session: string;
  readonly value: string;
  readonly owner: number;
  readonly epoch: number;
  /** The values that were appended so far, of an append and of a list. */
  readonly list?: readonly string[];
}

/** What a call has done outside of the cluster. */
export interface Effect {
  readonly value: string;
  readonly owner: number;
  readonly epoch: number;
  /** In ms, by the monotonic clock of the machine, which all nodes share. */
  readonly begunAt: number;
}

/** The end of a SIGSTOP, by the same clock. */
export interface Resume {
  readonly owner: number;
  readonly at: number;
}

/** Everything that is known of one session. */
export interface History {
  readonly session: string;
  readonly operations: readonly Operation[];
  /** In the order in which they happened. */
  readonly effects: readonly Effect[];
  readonly resumes: readonly Resume[];
}

/** How long after a SIGSTOP an effect may begin that the node had checked before it, in ms. */
const AFTER_RESUME = 1_000;

interface Answered extends Operation {
  readonly answer: Answer;
}

const isAnswered = (operation: Operation): operation is Answered => operation.answer !== undefined;
const byAnswer = (a: Answered, b: Answered): number => a.answer.at - b.answer.at;
const byInvocation = (a: Operation, b: Operation): number => a.invokedAt - b.invokedAt;

function counts(values: readonly string[]): Map<string, number> {
  const counted = new Map<string, number>();
  for (const value of values) counted.set(value, (counted.get(value) ?? 0) + 1);
  return counted;
}

/** How an operation reads in a message. */
function named({ kind, value, answer }: Operation): string {
  const by = answer === undefined ? '' : `, answered by ${answer.owner} in epoch ${answer.epoch}`;
  return `${kind} ${value}${by}`;
}

/**
 * Finds what no history of a cluster may have.
 *
 * An operation with an answer happened exactly once, between its invocation and its answer. One without an answer happened once
 * or not at all, and may happen at any time after its invocation. This holds for each session by itself, as linearizability is
 * local (Herlihy and Wing, "Linearizability", 3.1).
 *
 * @returns A message for each violation.
 */
export function violations({ session, operations, effects, resumes }: History): string[] {
  const answered = operations.filter(isAnswered);
  return [
    ...strayAnswers(session, answered),
    ...wrongAppends(operations, answered),
    ...wrongEffects(operations, effects),
    ...wrongOwners(answered, effects),
    ...overlappingEpochs(effects, resumes),
  ].map((message) => `session ${session}: ${message}`);
}

/** An answer names its session and its value, so that the answer to another request shows. */
function strayAnswers(session: string, answered: readonly Answered[]): string[] {
  return answered
    .filter(({ value, answer }) => answer.session !== session || answer.value !== value)
    .map(
      (each) => `${each.client} got the answer to ${each.answer.value} of ${each.answer.session} for ${named(each)}`,
    );
}

function wrongAppends(operations: readonly Operation[], answered: readonly Answered[]): string[] {
  const listed = answered.filter(({ answer }) => answer.list !== undefined).sort(byAnswer);
  const last = listed.at(-1);
  if (last === undefined) return [];
  const final = last.answer.list!;
  const counted = counts(final);
  const appends = new Map(operations.filter(({ kind }) => kind === 'append').map((each) => [each.value, each]));
  const wrong: string[] = [];
  for (const [value, count] of counted) {
    const append = appends.get(value);
    if (count > 1) wrong.push(`${value} was appended ${count} times`);
    if (append === undefined) wrong.push(`${value} is there, and was never sent`);
    else if (append.isRefused === true) wrong.push(`${named(append)} was refused, and is there`);
  }
  for (const append of appends.values()) {
    if (isAnswered(append) && !counted.has(append.value)) wrong.push(`${named(append)} is lost`);
  }
  // Each answer has what was stored. Values are only ever added to it, so it is where the last list begins.
  for (const each of listed) {
    const { list } = each.answer;
    const at = list!.findIndex((value, n) => value !== final[n]);
    if (at !== -1) wrong.push(`${named(each)} saw ${list![at]} where ${final[at]} came to be`);
    if (each.kind === 'append' && list!.at(-1) !== each.value) wrong.push(`${named(each)} is not last in its own list`);
  }
  return [...wrong, ...outOfOrder(listed)];
}

/** What was acknowledged before an operation was sent is in the list of that one. */
function outOfOrder(listed: readonly Answered[]): string[] {
  let longest = 0;
  let next = 0;
  const wrong: string[] = [];
  for (const each of [...listed].sort(byInvocation)) {
    for (; listed[next] !== undefined && listed[next]!.answer.at < each.invokedAt; next += 1)
      longest = Math.max(longest, listed[next]!.answer.list!.length);
    const { length } = each.answer.list!;
    const due = each.kind === 'append' ? longest + 1 : longest;
    if (length < due) wrong.push(`${named(each)} saw ${length} values, where ${due} were due`);
  }
  return wrong;
}

function wrongEffects(operations: readonly Operation[], effects: readonly Effect[]): string[] {
  const calls = new Map(operations.filter(({ kind }) => kind === 'effect').map((each) => [each.value, each]));
  const happened = new Map(effects.map((effect) => [effect.value, effect]));
  const wrong: string[] = [];
  for (const [value, count] of counts(effects.map((effect) => effect.value))) {
    const call = calls.get(value);
    if (count > 1) wrong.push(`effect ${value} happened ${count} times`);
    if (call === undefined) wrong.push(`effect ${value} happened, and was never asked for`);
    else if (call.isRefused === true) wrong.push(`${named(call)} was refused, and happened`);
  }
  for (const call of calls.values()) {
    if (!isAnswered(call)) continue;
    const effect = happened.get(call.value);
    if (effect === undefined) wrong.push(`${named(call)} did not happen`);
    else if (effect.owner !== call.answer.owner || effect.epoch !== call.answer.epoch)
      wrong.push(`${named(call)} was carried out by ${effect.owner} in epoch ${effect.epoch}`);
  }
  return [...wrong, ...lateEffects(operations, calls, effects)];
}

/** A handler that began before its node was fenced may end later. None may begin once the next owner has answered. */
function lateEffects(
  operations: readonly Operation[],
  calls: ReadonlyMap<string, Operation>,
  effects: readonly Effect[],
): string[] {
  const epochs = new Map(effects.map(({ value, epoch }) => [value, epoch]));
  const begun = [...calls.values()].filter(({ value, answer }) => answer === undefined && epochs.has(value));
  return olderThan(operations.filter(isAnswered), begun, ({ value }) => epochs.get(value)!).map(
    ({ operation, epoch, newest }) =>
      `${named(operation)} happened in epoch ${epoch}, and was sent after an answer of epoch ${newest}`,
  );
}

/**
 * Finds effects that began after one of a later epoch, also where their calls overlap. One effect is spared for each SIGSTOP: a process
 * that stops between the check and the effect runs that effect after SIGCONT (docs/scaling.md, "What is not guaranteed").
 */
function overlappingEpochs(effects: readonly Effect[], resumes: readonly Resume[]): string[] {
  const unused = new Set(resumes);
  const wrong: string[] = [];
  let newest = 0;
  for (const { value, owner, epoch, begunAt } of [...effects].sort((a, b) => a.begunAt - b.begunAt)) {
    newest = Math.max(newest, epoch);
    if (epoch === newest) continue;
    const resume = [...unused].find(
      (each) => each.owner === owner && each.at <= begunAt && begunAt < each.at + AFTER_RESUME,
    );
    if (resume === undefined) wrong.push(`effect ${value} began in epoch ${epoch}, after one of epoch ${newest}`);
    else unused.delete(resume);
  }
  return wrong;
}

/** An epoch has one owner, and no owner of an older epoch answers what was sent after an answer of a newer one. */
function wrongOwners(answered: readonly Answered[], effects: readonly Effect[]): string[] {
  const owners = new Map<number, number>();
  const wrong = new Set<string>();
  for (const { owner, epoch } of [...answered.map(({ answer }) => answer), ...effects]) {
    const other = owners.get(epoch) ?? owner;
    owners.set(epoch, other);
    if (other !== owner) wrong.add(`epoch ${epoch} has two owners: ${other} and ${owner}`);
  }
  for (const { operation, newest } of olderThan(answered, answered, ({ answer }) => answer.epoch))
    wrong.add(`${named(operation)}, was sent after an answer of epoch ${newest}`);
  return [...wrong];
}

/** The operations whose epoch is older than one that was answered before they were sent. */
function olderThan<T extends Operation>(
  answered: readonly Answered[],
  operations: readonly T[],
  epochOf: (operation: T) => number,
): { operation: T; epoch: number; newest: number }[] {
  const answers = [...answered].sort(byAnswer);
  const older: { operation: T; epoch: number; newest: number }[] = [];
  let newest = 0;
  let next = 0;
  for (const operation of [...operations].sort(byInvocation)) {
    for (; answers[next] !== undefined && answers[next]!.answer.at < operation.invokedAt; next += 1)
      newest = Math.max(newest, answers[next]!.answer.epoch);
    const epoch = epochOf(operation);
    if (epoch < newest) older.push({ operation, epoch, newest });
  }
  return older;
}
