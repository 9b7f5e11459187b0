import { once } from 'node:events';
import { soon } from '../support/waiting.js';
import { ForkedProgram } from '../support/forked-program.js';
import { bundle } from '../support/program.js';

export interface NodeInit {
  /** 0 for any. */
  readonly port: number;
  readonly redisUrl: string;
  /** How often the router under `/passing` is replaced, in ms; never, when it is not set. */
  readonly renewMs?: number;
}

interface Told {
  readonly port?: number;
  readonly left?: readonly string[];
}

/** A process with the routers of `node.ts`. */
export class NodeProcess {
  readonly port: number;
  readonly #program: ForkedProgram;

  private constructor(program: ForkedProgram, port: number) {
    this.#program = program;
    this.port = port;
  }

  static build(): (init: NodeInit) => Promise<NodeProcess> {
    const file = bundle('__tests__/chaos/node.ts');
    return async (init) => {
      const [program, told] = await ForkedProgram.start(file, [JSON.stringify(init)]);
      return new NodeProcess(program, (told as Told).port!);
    };
  }

  get health(): string {
    return this.#program.health;
  }

  kill(): Promise<void> {
    return this.#program.kill();
  }

  /** Closes all that it has open, and has it end by itself; gives the sockets and timers that are left then. */
  async end(): Promise<readonly string[]> {
    const { child, exited } = this.#program;
    const told = once(child, 'message') as Promise<[Told]>;
    child.send('end');
    const [{ left }] = await soon('all is closed', told);
    await soon('the process has ended', exited);
    if (child.exitCode !== 0) throw new Error(this.health);
    return left!;
  }
}
