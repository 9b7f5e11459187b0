// The messages of MCP, as both versions of the SDK have them: a value of either SDK's types is one of these, and these are ones of
// theirs. The package has its own, so that an app may install one SDK, the other, or both.

/** A JSON-RPC request ID (spec 2025-11-25, basic, "Requests"). */
export type RequestId = string | number;

/** The params of a request or notification. */
export interface Params {
  [name: string]: unknown;
  /** Two fields that the protocol itself reads, and fields of the application. */
  _meta?:
    | {
        [name: string]: unknown;
        progressToken?: RequestId | undefined;
        'io.modelcontextprotocol/related-task'?: { taskId: string } | undefined;
      }
    | undefined;
}

export interface JSONRPCRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: string;
  params?: Params | undefined;
}

export interface JSONRPCNotification {
  jsonrpc: '2.0';
  method: string;
  params?: Params | undefined;
}

/** The result of a request. */
export interface Result {
  [name: string]: unknown;
  _meta?: Params['_meta'];
}

export interface JSONRPCResultResponse {
  jsonrpc: '2.0';
  id: RequestId;
  result: Result;
}

export interface JSONRPCErrorResponse {
  jsonrpc: '2.0';
  /** Missing where the ID of the request could not be read. */
  id?: RequestId | undefined;
  error: { code: number; message: string; data?: unknown };
}

/** Any message of MCP. */
export type JSONRPCMessage = JSONRPCRequest | JSONRPCNotification | JSONRPCResultResponse | JSONRPCErrorResponse;
