import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { freePort } from '../support/free-port.js';
import { bundle, SOURCES } from '../support/program.js';
import { until } from '../support/waiting.js';
import { killWithThisProcess } from '../support/watchdog.js';

/** An app of `examples/` or `deploy/` in a process of its own, as a user would start it. */
export class Example {
  readonly url: URL;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown[]>;
  #said = '';

  private constructor(child: ChildProcess, port: number) {
    this.url = new URL(`http://127.0.0.1:${port}/mcp`);
    this.#child = child;
    this.#exited = once(child, 'exit');
    void this.#exited.then(killWithThisProcess(child.pid!));
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text: Buffer) => (this.#said += String(text)));
  }

  /**
   * @param entry - The file, from the root of the repository.
   * @param env - Its environment, beside `PATH` and `PORT`.
   * @param alias - Other packages for some imports.
   */
  static async start(
    entry: string,
    env: Record<string, string> = {},
    alias: Record<string, string> = {},
  ): Promise<Example> {
    const file = bundle(entry, { alias: { ...SOURCES, ...alias } });
    const port = Number(env.PORT ?? (await freePort()));
    const child = spawn(process.execPath, [file], {
      env: { PATH: process.env.PATH, LOG_LEVEL: 'warn', ...env, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const example = new Example(child, port);
    await until(`${entry} listens`, () => example.#isListening());
    return example;
  }

  /** A client of SDK v1, which opens a session. */
  async client(headers: Record<string, string> = {}): Promise<Client> {
    const client = new Client({ name: 'test', version: '1.0.0' });
    await client.connect(new StreamableHTTPClientTransport(this.url, { requestInit: { headers } }));
    return client;
  }

  /** A client of SDK v2, which chooses MCP 2026-07-28 if it is offered. */
  async laterClient(headers: Record<string, string> = {}): Promise<ClientV2> {
    const client = new ClientV2({ name: 'test', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
    await client.connect(new TransportV2(this.url, { requestInit: { headers } }));
    return client;
  }

  /** Ends it by SIGTERM. Resolves to its exit code, or the signal that ended it. */
  async stop(): Promise<unknown> {
    this.#child.kill('SIGTERM');
    const [code, signal] = await this.#exited;
    return code ?? signal;
  }

  async #isListening(): Promise<boolean> {
    if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#said}`);
    return fetch(new URL('/none', this.url)).then(
      () => true,
      () => false,
    );
  }
}
