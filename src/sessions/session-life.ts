import type { McpServerLike } from '../options/options.js';
import type { HttpTransport } from '../transport/transport.js';
import type { FactoryContext, Life } from './server/server-context.js';
import type { RecordWriter } from './records/record-writer.js';
import type { RecordState, SessionStates } from './session-states.js';

/** The part of a session that begins anew with each build of its server, the lock that is held meanwhile, and the record. */
export abstract class SessionLife {
  #life: Life;
  #epoch: number;
  #transport: HttpTransport | undefined;
  #server: McpServerLike | undefined;
  #record: RecordWriter | undefined;
  #recordState: RecordState = 'none';
  readonly #states: SessionStates;
  #opening: Promise<void> | undefined;
  #abandon: ((reason: Error) => void) | undefined;

  constructor({ life, epoch }: FactoryContext, states: SessionStates) {
    this.#states = states;
    this.#life = life;
    this.#epoch = epoch;
  }

  /** From one build of its server to the next. */
  get life(): Life {
    return this.#life;
  }

  /** Grows with each life. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The lock: concurrent requests await it while the session is opened, restored or woken. Rejects with their refusal. */
  get opening(): Promise<void> | undefined {
    return this.#opening;
  }

  /** Undefined until it is being built, and while the session hibernates. */
  get transport(): HttpTransport | undefined {
    return this.#transport;
  }

  get server(): McpServerLike | undefined {
    return this.#server;
  }

  /** Undefined where no record is kept, and while the session hibernates. */
  get record(): RecordWriter | undefined {
    return this.#record;
  }

  get recordState(): RecordState {
    return this.#recordState;
  }

  /** Whether the store holds its record, in this epoch. */
  get stored(): boolean {
    return this.#recordState === 'stored';
  }

  /** Whether another node owns it. */
  get ownershipLost(): boolean {
    return this.#recordState === 'lost';
  }

  moveRecordTo(state: RecordState): void {
    this.#recordState = this.#states.moveRecord(this.#recordState, state);
  }

  /** What becomes known of the record after its final state changes nothing. */
  moveRecordToFinal(state: 'lost' | 'removed'): void {
    if (this.#recordState !== 'lost' && this.#recordState !== 'removed') this.moveRecordTo(state);
  }

  /** Has concurrent requests await the promise. Returns a function that ends that, if no other promise took its place. */
  lock(opening: Promise<void>): () => void {
    this.#opening = opening;
    return () => {
      if (this.#opening === opening) this.unlock();
    };
  }

  /** Begins a life with that transport. The promise rejects when the build of the server is abandoned. */
  begin({ life, epoch }: FactoryContext, transport: HttpTransport): Promise<never> {
    this.#life = life;
    this.#epoch = epoch;
    this.#transport = transport;
    return new Promise<never>((_, reject) => (this.#abandon = reject));
  }

  /**
   * Abandons its opening. Without effect once it is open.
   *
   * @param reason - Makes the error. Its stack trace takes longer than the rest of a call for a session that is open.
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

  /** Rolls back a life that could not begin: drops its transport, its server and its record writer. */
  end(): void {
    this.#record?.end();
    this.#transport = this.#server = this.#record = undefined;
  }

  /** The store counts the next epoch from now on. */
  advanceEpoch(): void {
    this.#epoch += 1;
  }

  protected unlock(): void {
    this.#opening = this.#abandon = undefined;
  }
}
