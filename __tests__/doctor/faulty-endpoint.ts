import { createServer, request, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { createMcpEndpoint, type McpEndpointOptions } from '../../src/node.js';
import { echoServer } from '../support/harness.js';

/** The params that a fault looks at. */
interface Params {
  readonly _meta?: Readonly<Record<string, string>>;
  readonly protocolVersion?: string;
  readonly name?: string;
}

/** A request as it came, before it is passed on. A fault may change it. */
export interface Call {
  readonly method: string;
  readonly path: string;
  headers: IncomingHttpHeaders;
  readonly chunks: readonly Buffer[];
  body: Buffer;
  /** The JSON-RPC message; undefined when the body is none. */
  readonly message: { readonly id?: unknown; readonly method?: string; readonly params?: Params } | undefined;
}

interface Head {
  status: number;
  headers: IncomingHttpHeaders;
}

/** One thing that an endpoint does wrong. */
export interface Fault {
  /** Answers the request. Returns false when it leaves that to the sound endpoint. */
  answer?(call: Call, res: ServerResponse): boolean;
  /** Changes what the sound endpoint gets. */
  request?(call: Call): void;
  /** Changes the head of what it answers. */
  head?(head: Head, call: Call): void;
  /** Changes the body of its replies that end. */
  body?(body: string, call: Call): string;
}

export interface Endpoint {
  readonly url: URL;
  close(): Promise<void>;
}

const listening = (server: Server) =>
  new Promise<URL>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`));
    });
  });

const closed = (server: Server) =>
  new Promise<unknown>((resolve) => {
    server.closeAllConnections();
    server.close(resolve);
  });

/** Serves the endpoint of this package through a hop that has the fault. */
export async function serve(fault: Fault = {}, options: Partial<McpEndpointOptions> = {}): Promise<Endpoint> {
  const mcp = createMcpEndpoint({ serverFactory: echoServer, logger: false, perRequest: true, ...options });
  const inner = createServer((req, res) => mcp.handle(req, res));
  const target = await listening(inner);
  const outer = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const body = Buffer.concat(chunks);
      const { method = '', url: path = '', headers } = req;
      const call = { method, path, headers: { ...headers }, chunks, body, message: messageOf(body) };
      if (fault.answer?.(call, res) !== true) passOn(fault, call, target, res);
    });
  });
  const url = await listening(outer);
  return {
    url,
    close: async () => {
      await closed(outer);
      await mcp.close();
      await closed(inner);
    },
  };
}

function messageOf(body: Buffer): Call['message'] {
  try {
    return JSON.parse(body.toString()) as Call['message'];
  } catch {
    return undefined;
  }
}

const without = (headers: IncomingHttpHeaders, ...names: string[]): IncomingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));

function passOn(fault: Fault, call: Call, target: URL, res: ServerResponse): void {
  fault.request?.(call);
  const headers = without(call.headers, 'content-length', 'transfer-encoding');
  const hop = request(target, {
    method: call.method,
    headers: { ...headers, ...(call.body.length > 0 && { 'content-length': call.body.length }) },
  });
  res.on('close', () => hop.destroy());
  hop.on('error', () => res.destroy());
  hop.on('response', (reply) => {
    const head = { status: reply.statusCode ?? 0, headers: without(reply.headers, 'content-length') };
    fault.head?.(head, call);
    res.writeHead(head.status, head.headers).flushHeaders();
    if (fault.body === undefined || call.method !== 'POST') reply.pipe(res);
    else void text(reply).then((whole) => res.end(fault.body?.(whole, call)));
  });
  hop.end(call.body);
}
