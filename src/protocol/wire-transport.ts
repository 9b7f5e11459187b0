import type { JSONRPCMessage, RequestId } from './messages.js';

/** The caller, as authentication found it: the `AuthInfo` of both versions of the SDK. */
export interface AuthInfo {
  /** The access token. */
  token: string;
  clientId: string;
  scopes: string[];
  /** In seconds since 1970. */
  expiresAt?: number;
  /** The resource server that the token is for (RFC 8707). */
  resource?: URL;
  /** Other facts of the caller that the app keeps. */
  extra?: Record<string, unknown>;
}

/** The facts that a server gets with a message. */
export interface MessageExtraInfo {
  /** The HTTP request, for servers of the SDK's version 1. */
  requestInfo?: object;
  /** The HTTP request, for servers of the SDK's version 2. */
  request?: object;
  authInfo?: AuthInfo;
  /** Ends the SSE stream of the request, so that its client comes back for the rest. */
  closeSSEStream?: () => void;
  closeStandaloneSSEStream?: () => void;
}

/** A transport, as a server of either version of the SDK uses it. */
export interface WireTransport {
  /** Called by the server once it has set the callbacks below. */
  start(): Promise<void>;
  /** @param options - The request that the message belongs to. */
  send(message: JSONRPCMessage, options?: { relatedRequestId?: RequestId | undefined }): Promise<void>;
  close(): Promise<void>;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage, extra?: MessageExtraInfo) => void) | undefined;
  sessionId?: string | undefined;
}

/** The part of a server that the router uses. The SDK's `McpServer` and `Server` both have it. */
export interface McpServerLike {
  connect(transport: WireTransport): Promise<void>;
  close(): Promise<void>;
}

/** Keeps the events of SSE streams, so that clients can resume them: the `EventStore` of both versions of the SDK. */
export interface EventStore {
  /** @returns The ID of the event. */
  storeEvent(streamId: string, message: JSONRPCMessage): Promise<string>;
  /** The stream of an event; undefined when the event is not known. */
  getStreamIdForEventId?(eventId: string): Promise<string | undefined>;
  /**
   * Sends the events of the stream that came after one, in their order.
   *
   * @returns The ID of the stream.
   */
  replayEventsAfter(
    lastEventId: string,
    options: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string>;
}
