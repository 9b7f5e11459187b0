// A client's description of itself, with the types of both versions of the SDK.

/** The name of a client or a server. */
export interface Implementation {
  name: string;
  version: string;
  title?: string | undefined;
  icons?:
    | {
        src: string;
        mimeType?: string | undefined;
        sizes?: string[] | undefined;
        theme?: 'light' | 'dark' | undefined;
      }[]
    | undefined;
  websiteUrl?: string | undefined;
  description?: string | undefined;
}

/** The capabilities of a client that the protocol defines. Clients may declare more. */
export interface ClientCapabilities {
  experimental?: Record<string, object> | undefined;
  sampling?: { context?: object | undefined; tools?: object | undefined } | undefined;
  elicitation?:
    | {
        [name: string]: unknown;
        form?: { [name: string]: unknown; applyDefaults?: boolean | undefined } | undefined;
        url?: object | undefined;
      }
    | undefined;
  roots?: { listChanged?: boolean | undefined } | undefined;
  /** Kinds of tasks that a client of 2025-11-25 runs. */
  tasks?:
    | {
        [name: string]: unknown;
        list?: object | undefined;
        cancel?: object | undefined;
        requests?:
          | {
              [name: string]: unknown;
              sampling?: { [name: string]: unknown; createMessage?: object | undefined } | undefined;
              elicitation?: { [name: string]: unknown; create?: object | undefined } | undefined;
            }
          | undefined;
      }
    | undefined;
  extensions?: Record<string, object> | undefined;
}
