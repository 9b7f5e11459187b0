import type { JSONRPCRequest } from '../protocol/messages.js';
import { ClientSettings } from './records/client-settings.js';
import type { RecordWriter, RecordWriterInit } from './records/record-writer.js';

/** The part of a session that keeps what its client has set: in the session's record, or in memory if it has none. */
export abstract class SessionSettings {
  /** Those of a session without a record. Undefined until its client sets something, to save memory. */
  #settings: ClientSettings | undefined;
  #maxSubscriptions = 0;

  abstract get record(): RecordWriter | undefined;

  /** Undefined while the session hibernates, and where its client has set nothing. */
  get settings(): ClientSettings | undefined {
    return this.record?.settings ?? this.#settings;
  }

  /** Keeps the settings without a record from now on, with those of the server that the session had before. */
  keepSettings(maxSubscriptions: number, init: Pick<RecordWriterInit, 'logLevel' | 'subscriptions'>): void {
    const { logLevel, subscriptions } = init;
    this.#maxSubscriptions = maxSubscriptions;
    if (logLevel === undefined && subscriptions.length === 0) return;
    this.#settings = new ClientSettings(maxSubscriptions, logLevel, subscriptions);
  }

  reserve(request: JSONRPCRequest): boolean {
    const settings = this.settings ?? (this.#settings = new ClientSettings(this.#maxSubscriptions));
    return settings.reserve(request);
  }

  free(request: JSONRPCRequest): void {
    this.settings?.free(request);
  }

  requestSucceeded(request: JSONRPCRequest): Promise<void> | undefined {
    if (this.record !== undefined) return this.record.remember(request);
    this.#settings?.remember(request);
    return undefined;
  }

  protected endSettings(): void {
    this.#settings = undefined;
  }
}
