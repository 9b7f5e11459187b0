import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianTool } from './debian.js';
import { freePort } from './free-port.js';
import { until } from './waiting.js';
import { killWithThisProcess } from './watchdog.js';

export interface HaProxyInit {
  /** Each session's requests go to the node that opened it. Default: plain round-robin, which knows nothing of sessions. */
  readonly sticky?: boolean;
  /** Connections to the nodes are kept, for nodes that do not end meanwhile. Default: one for each request, see below. */
  readonly keepAlive?: boolean;
}

/** HAProxy in front of ports of this machine. */
export class HaProxy {
  readonly port: number;
  readonly #folder: string;
  readonly #statsPort: number;
  readonly #init: HaProxyInit;
  #process!: ChildProcess;
  #exited!: Promise<unknown>;

  /** @param ports - Of the backends. They need not listen yet, nor always; each is asked for `/ready` all the time. */
  static async start(ports: readonly number[], init: HaProxyInit = {}): Promise<HaProxy> {
    const path = await ensureDebianTool('haproxy', 'haproxy');
    const folder = await mkdtemp(join(tmpdir(), 'haproxy-'));
    for (let tries = 5; ; tries -= 1) {
      const proxy = new HaProxy(folder, init, await freePort(), await freePort());
      try {
        await proxy.#start(path, ports);
        return proxy;
      } catch (error) {
        // Another process may have taken one of the ports meanwhile.
        await proxy.#kill();
        if (tries > 1) continue;
        await rm(folder, { recursive: true, force: true });
        throw error;
      }
    }
  }

  private constructor(folder: string, init: HaProxyInit, port: number, statsPort: number) {
    this.port = port;
    this.#folder = folder;
    this.#init = init;
    this.#statsPort = statsPort;
  }

  async stop(): Promise<void> {
    await this.#kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The ports that requests go to at the moment. */
  async up(): Promise<number[]> {
    const csv = await (await fetch(`http://127.0.0.1:${this.#statsPort}/;csv`)).text();
    return [...csv.matchAll(/^nodes,node-(\d+),.*,UP,/gm)].map(([, port]) => Number(port));
  }

  async #start(path: string, ports: readonly number[]): Promise<void> {
    const file = join(this.#folder, 'haproxy.cfg');
    await writeFile(file, configuration(this.port, this.#statsPort, ports, this.#init));
    // In the foreground and in one process, so that ending the process ends all of it.
    const proxy = spawn(path, ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [proxy.stdout, proxy.stderr]) stream.on('data', (text: Buffer) => (said += text.toString()));
    this.#process = proxy;
    const disarm = killWithThisProcess(proxy.pid!, this.#folder);
    this.#exited = once(proxy, 'exit').then(disarm);
    await until('HAProxy listens', async () => {
      if (proxy.exitCode !== null || proxy.signalCode !== null) throw new Error(`HAProxy ended: ${said}`);
      return this.up().then(
        () => true,
        () => false,
      );
    });
  }

  async #kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }
}

/**
 * `timeout check`: a node that is slow has not ended; one that has refuses the connection, and is found out by the next check.
 *
 * `http-server-close`: a connection for each request. Over one that is kept, a request may be on its way to a node that is
 * ending just then, and whether that read it nobody knows. As it is, a node that has ended refuses the connection, and the
 * request, of which nobody has read a byte, is another's: at once, without the second that is waited before the same one is
 * tried again (`redispatch 1`). What may have been read is never sent twice.
 *
 * `http-no-delay`: an event goes on to the client when it comes.
 */
function configuration(
  port: number,
  statsPort: number,
  ports: readonly number[],
  { sticky = false, keepAlive = false }: HaProxyInit,
): string {
  return `
global
  fd-hard-limit 20000
defaults
  mode http
  ${keepAlive ? KEPT : 'option http-server-close'}
  option http-no-delay
  option redispatch 1
  retries 3
  retry-on conn-failure
  timeout connect 1s
  timeout check 10s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend clients
  bind 127.0.0.1:${port}
  default_backend nodes
backend nodes
  balance roundrobin
  ${sticky ? STICKY : ''}
  option httpchk GET /ready
  default-server check inter 200ms fall 1 rise 1
${ports.map((node) => `  server node-${node} 127.0.0.1:${node}\n`).join('')}
frontend stats
  bind 127.0.0.1:${statsPort}
  stats enable
  stats uri /
`;
}

const KEPT = `option http-keep-alive
  http-reuse always`;

const STICKY = `stick-table type string len 64 size 200k
  stick store-response res.hdr(mcp-session-id)
  stick match req.hdr(mcp-session-id)`;
