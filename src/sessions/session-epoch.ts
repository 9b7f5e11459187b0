import type { McpServerLike } from '../options/options.js';
import type { HttpTransport } from '../transport/transport.js';
import type { FactoryContext } from './server/server-context.js';
import type { ServerLifetime } from './server/server-lifetime.js';
import type { Claim } from './records/record-store.js';
import type { RecordWriter } from './records/record-writer.js';
import { SessionSettings } from './session-settings.js';
import type { RecordState, SessionStates } from './session-states.js';

/** The part of a session that each epoch replaces: server, transport and record writer. Also the lock while it is built. */
export abstract class SessionEpoch extends SessionSettings {
  #lifetime: ServerLifetime;
  #epoch: number;
  #owner: string | undefined;
  #transport: HttpTransport | undefined;
  #server: McpServerLike | undefined;
  #record: RecordWriter | undefined;
  #recordState: RecordState = 'none';
  readonly #states: SessionStates;
  #opening: Promise<void> | undefined;
  #abandon: ((reason: Error) => void) | undefined;

  constructor({ lifetime, epoch }: FactoryContext, states: SessionStates) {
    super();
    this.#states = states;
    this.#lifetime = lifetime;
    this.#epoch = epoch;
  }

  /** The lifetime of the current server. */
  get lifetime(): ServerLifetime {
    return this.#lifetime;
  }

  /** Grows with each build of the server. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The owner that its record names, by the last claim of this node. Undefined without a store. */
  get owner(): string | undefined {
    return this.#owner;
  }

  /** The lock: concurrent requests await it while the session is opened, restored or woken. Rejects with their refusal. */
  get opening(): Promise<void> | undefined {
    return this.#opening;
  }

  /** Undefined before the server is built, and while the session hibernates. */
  get transport(): HttpTransport | undefined {
    return this.#transport;
  }

  get server(): McpServerLike | undefined {
    return this.#server;
  }

  /** Undefined when the session has no record, and while it hibernates. */
  get record(): RecordWriter | undefined {
    return this.#record;
  }

  get recordState(): RecordState {
    return this.#recordState;
  }

  /** Whether the store has the session's record in this epoch. */
  get stored(): boolean {
    return this.#recordState === 'stored';
  }

  /** Whether another node owns the session. */
  get ownershipLost(): boolean {
    return this.#recordState === 'lost';
  }

  moveRecordTo(state: RecordState): void {
    this.#recordState = this.#states.moveRecord(this.#recordState, state);
  }

  /** Moves the record to a final state. Without effect when it has a final state already. */
  moveRecordToFinal(state: 'lost' | 'removed'): void {
    if (this.#recordState !== 'lost' && this.#recordState !== 'removed') this.moveRecordTo(state);
  }

  /** Makes concurrent requests await the promise. Returns a function that unlocks, unless another promise has replaced it. */
  lock(opening: Promise<void>): () => void {
    this.#opening = opening;
    return () => {
      if (this.#opening === opening) this.unlock();
    };
  }

  /** Begins an epoch with that transport. The promise rejects when the build of the server is abandoned. */
  begin({ lifetime, epoch }: FactoryContext, transport: HttpTransport): Promise<never> {
    this.#lifetime = lifetime;
    this.#epoch = epoch;
    this.#transport = transport;
    return new Promise<never>((_, reject) => (this.#abandon = reject));
  }

  /**
   * Abandons the opening of the session. Without effect once it is open.
   *
   * @param reason - Makes the error. It is a function, as a stack trace costs more than the rest of a call without effect.
   */
  abandonOpening(reason: () => Error): void {
    this.#abandon?.(reason());
  }

  connect(server: McpServerLike): void {
    this.#server = server;
  }

  keepRecord(record: RecordWriter): RecordWriter {
    this.#record = record;
    return record;
  }

  /** Ends the epoch: drops the transport, the server and the record writer. */
  end(): void {
    this.#record?.end();
    this.#transport = this.#server = this.#record = undefined;
    this.endSettings();
  }

  /** Called for each claim of this node: a new owner in the record, in the next epoch. */
  ownBy({ owner, epoch }: Claim): void {
    this.#owner = owner;
    this.#epoch = epoch;
  }

  protected unlock(): void {
    this.#opening = this.#abandon = undefined;
  }
}
