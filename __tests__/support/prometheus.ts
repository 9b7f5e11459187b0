import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianTool } from './debian.js';
import { freePort } from './free-port.js';
import { killWithThisProcess } from './watchdog.js';

/** What promtool prints, and its exit code. */
export async function promtool(args: readonly string[], input = ''): Promise<{ said: string; code: unknown }> {
  const tool = execFile(await ensureDebianTool('promtool', 'prometheus'), args);
  let said = '';
  tool.stdout!.on('data', (chunk: string) => (said += chunk));
  tool.stderr!.on('data', (chunk: string) => (said += chunk));
  tool.stdin!.end(input);
  const [code] = await once(tool, 'close');
  return { said, code };
}

/** One series of the answer to an instant query. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A rule, as Prometheus tells of it. */
export interface Rule {
  readonly name: string;
  readonly type: 'alerting' | 'recording';
  readonly query: string;
  readonly health: 'ok' | 'err' | 'unknown';
  readonly lastError?: string;
  readonly alerts?: readonly { readonly state: string; readonly labels: Readonly<Record<string, string>> }[];
}

/** A Prometheus that scrapes each second, and keeps its data in a folder of its own. */
export class Prometheus {
  readonly #origin: string;
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  #said = '';

  /**
   * @param targets - Host and port of each. Their metrics are at `/metrics`.
   * @param ruleFiles - Absolute paths.
   */
  static async start(targets: readonly string[], ruleFiles: readonly string[] = []): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'prometheus-'));
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: ruleFiles,
      scrape_configs: [{ job_name: 'mcp', static_configs: [{ targets }] }],
    };
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const program = await ensureDebianTool('prometheus', 'prometheus');
    return new Prometheus(program, folder, `127.0.0.1:${await freePort()}`);
  }

  private constructor(program: string, folder: string, address: string) {
    this.#folder = folder;
    this.#origin = `http://${address}`;
    this.#process = spawn(
      program,
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=${address}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const disarm = killWithThisProcess(this.#process.pid!, folder);
    this.#process.stderr!.on('data', (text: Buffer) => (this.#said += text.toString()));
    this.#exited = once(this.#process, 'exit').then(disarm);
  }

  /** Its log. */
  get said(): string {
    return this.#said;
  }

  /**
   * The answer to an instant query. Undefined while Prometheus does not answer yet.
   *
   * @throws Error when the query is wrong.
   */
  async query(expression: string): Promise<Series[] | undefined> {
    const data = await this.#get<{ result: { metric: Series['metric']; value: [number, string] }[] }>(
      `query?query=${encodeURIComponent(expression)}`,
    );
    return data?.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** The value of a query that has one result. Undefined while it has none. */
  async value(expression: string): Promise<number | undefined> {
    return (await this.query(expression))?.[0]?.value;
  }

  async rules(): Promise<Rule[]> {
    const data = await this.#get<{ groups: { rules: Rule[] }[] }>('rules');
    return data?.groups.flatMap(({ rules }) => rules) ?? [];
  }

  async stop(): Promise<void> {
    this.#process.kill();
    await this.#exited;
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #get<T>(path: string): Promise<T | undefined> {
    const response = await fetch(`${this.#origin}/api/v1/${path}`).catch(() => undefined);
    if (response?.status === 400) throw new Error(await response.text());
    if (response?.status !== 200) return undefined;
    return ((await response.json()) as { data: T }).data;
  }
}
