import {
  LATEST_PROTOCOL_VERSION,
  SUPPORTED_PROTOCOL_VERSIONS,
  isInitializeParams,
  isLogLevel,
  type LogLevel,
  type InitializeRequestParams,
} from '../../protocol/session-era.js';
import { Refusal } from '../../errors.js';
import { isObject } from '../../runtime/checks.js';
import { isTextDeeperThan } from '../../runtime/json-depth.js';
import { MAX_RECORD_DEPTH } from './record-json.js';
import type { StoredRecord } from '../../stores/session-store.js';

/** The data from which a session is built again under its ID. It contains no token, and no other part of earlier requests. */
export interface SessionRecord {
  readonly id: string;
  readonly principal: string | undefined;
  /** The params of the client's `initialize`, without `_meta`. */
  readonly initialize: InitializeRequestParams;
  readonly protocolVersion: string;
  readonly logLevel: LogLevel | undefined;
  /** URIs of resources. */
  readonly subscriptions: readonly string[];
  /** The values of `context.state`. */
  readonly state: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970. For display only: the clocks of two nodes may differ by hours. */
  readonly openedAt: number;
  /** Milliseconds from the opening to the writing of this record. Undefined in a record of an earlier version. */
  readonly age: number | undefined;
}

/** In a record, `initialize` is nested one level deep, and a value of `state` two. */
const MAX_DEPTH = MAX_RECORD_DEPTH + 2;

/** Records of other formats are not read, as the same field may have another meaning in them. */
const FORMAT = 1;

/** A record that can never be restored. */
export class UnreadableRecord extends Error {
  override readonly name = 'UnreadableRecord';
}

/** A record that a newer router wrote. Such a router may run beside this one, so this one must not remove the record. */
export class NewerRecord extends Error {
  override readonly name = 'NewerRecord';
}

/** @param state - A JSON object. */
export function encodeRecord(record: Omit<SessionRecord, 'state'>, state: string): string {
  const { subscriptions } = record;
  const rest = JSON.stringify({
    v: FORMAT,
    ...record,
    subscriptions: subscriptions.length > 0 ? subscriptions : undefined,
  });
  return state === '{}' ? rest : `${rest.slice(0, -1)},"state":${state}}`;
}

/**
 * @param id - The session ID under which the record is stored.
 * @throws UnreadableRecord when the text is not a record of that session, is nested too deep to be written again, or names a
 * protocol version that the SDK no longer supports.
 * @throws NewerRecord when the record has a later format, or a protocol version that the SDK does not support yet.
 */
export function decodeRecord(text: string, id: string): SessionRecord {
  const read = parsed(text);
  if (typeof read.v === 'number' && read.v > FORMAT) throw new NewerRecord(`the record is of format ${read.v}`);
  if (read.v !== FORMAT) throw new UnreadableRecord(`the record is of no known format: ${String(read.v)}`);
  const { principal, protocolVersion, openedAt, age, subscriptions = [], state = {} } = read;
  const { logLevel, initialize } = read;
  if (
    read.id !== id ||
    !isInitializeParams(initialize) ||
    (logLevel !== undefined && !isLogLevel(logLevel)) ||
    (principal !== undefined && typeof principal !== 'string') ||
    typeof protocolVersion !== 'string' ||
    typeof openedAt !== 'number' ||
    (age !== undefined && !(typeof age === 'number' && age >= 0)) ||
    !isStrings(subscriptions) ||
    !isObject(state)
  ) {
    throw new UnreadableRecord('the record is not one of this session');
  }
  if (!SUPPORTED_PROTOCOL_VERSIONS.includes(protocolVersion)) {
    const message = `its protocol version is not supported: ${protocolVersion}`;
    throw protocolVersion > LATEST_PROTOCOL_VERSION ? new NewerRecord(message) : new UnreadableRecord(message);
  }
  return {
    id,
    principal,
    initialize,
    protocolVersion,
    logLevel,
    subscriptions,
    state,
    openedAt,
    age,
  };
}

/**
 * The text of a record after a principal has adopted its session.
 *
 * @throws The errors of {@link decodeRecord}.
 */
export function withPrincipal(text: string, id: string, principal: string): string {
  const { state, ...facts } = decodeRecord(text, id);
  return encodeRecord({ ...facts, principal }, JSON.stringify(state));
}

/** The principal in a record. Undefined when the text is not a record. */
export function principalOf({ data }: StoredRecord, id: string): string | undefined {
  try {
    return decodeRecord(data, id).principal;
  } catch {
    return undefined;
  }
}

/**
 * @param onUnreadable - Called for a record that can never be restored.
 * @throws Refusal `restoreFailed` for a record of a newer version.
 */
export function decodeIfReadable(
  { data }: StoredRecord,
  id: string,
  onUnreadable?: (error: UnreadableRecord) => void,
): SessionRecord | undefined {
  try {
    return decodeRecord(data, id);
  } catch (error) {
    if (error instanceof NewerRecord) throw new Refusal('restoreFailed', { cause: error });
    if (!(error instanceof UnreadableRecord)) throw error;
    onUnreadable?.(error);
    return undefined;
  }
}

function parsed(text: string): Record<string, unknown> {
  let value: unknown;
  if (isTextDeeperThan(MAX_DEPTH, text)) throw new UnreadableRecord('the record is nested too deep');
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UnreadableRecord('the record is no JSON', { cause });
  }
  if (!isObject(value)) throw new UnreadableRecord('the record is no JSON object');
  return value;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}
