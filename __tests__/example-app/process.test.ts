import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { valueOf } from '../support/exposition.js';
import { freePort } from '../support/free-port.js';
import { initializeBody, post } from '../support/harness.js';
import { soon, until } from '../support/waiting.js';
import { AppProcesses } from './app-process.js';
import { connect } from './start.js';

const processes = new AppProcesses();
beforeAll(() => processes.build());
// A test that fails half-way must not leave its app behind.
afterEach(() => processes.killAll());

/** Starts it on a free port and waits until it listens. */
async function running(env: Record<string, string> = {}) {
  const app = processes.start(['--port', '0'], env);
  return { app, child: app.child, exited: app.exited, url: await app.url() };
}

describe('the example app as a process', () => {
  it('says where it listens, once for machines and once for people, and serves there', async () => {
    const { app, child, exited, url } = await running();
    expect(await app.line('listening')).toMatchObject({ level: 30, url, endpoint: `${url}/mcp`, stateless: false });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    child.kill('SIGTERM');
    expect((await exited).stderr).toContain(`Open ${url}/`);
  });

  // `/dev/full` answers each write with ENOSPC (full(4)).
  it('serves on with its output on a full disk, and counts the log lines that were not written', async () => {
    const port = String(await freePort());
    const url = `http://127.0.0.1:${port}`;
    const full = openSync('/dev/full', 'w');
    const app = processes.start(['--port', port], {}, ['ignore', full, full]);
    closeSync(full);
    await until('it listens', () => {
      expect(app.child.exitCode).toBeNull();
      return fetch(`${url}/healthz`).then(
        ({ ok }) => ok,
        () => false,
      );
    });
    await until('a log line is lost', async () => {
      // The app keeps 64 KiB of lines before it loses one.
      for (let n = 0; n < 50; n += 1) {
        const opened = await post(new URL('/mcp', url), initializeBody());
        await opened.text();
        expect(opened.status).toBe(200);
      }
      const metrics = await (await fetch(`${url}/metrics`)).text();
      return valueOf(metrics, 'app_log_lines_lost_total')! > 0;
    });
    app.child.kill('SIGTERM');
    expect(await app.exited).toMatchObject({ code: 0 });
  });

  it.each([
    [{}, 'timeout=65'],
    [{ MCP_HTTP_KEEP_ALIVE_MS: '620000' }, 'timeout=620'],
  ])('keeps an idle connection open for longer than a balancer in front: %j', async (env, keepAlive) => {
    const { url } = await running(env);
    expect((await fetch(`${url}/healthz`)).headers.get('keep-alive')).toBe(keepAlive);
  });

  it.each([['--port', '0'], ['--port=0']])('takes %s before PORT', async (...args) => {
    const app = processes.start(args, { PORT: '1' });
    await app.url();
    app.child.kill('SIGTERM');
    expect(await app.exited).toMatchObject({ code: 0 });
  });

  it('a port in use: says which, and how to choose another, and exits 1 without a stack', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    for (const app of [processes.start([], { PORT: String(port) }), processes.start([`--port=${port}`])]) {
      const { code, stdout, stderr } = await app.exited;
      expect(code).toBe(1);
      expect(stderr).toContain(`port ${port} of 127.0.0.1 is in use`);
      expect(stderr).toContain(`--port ${port + 1}`);
      expect(stderr).toContain('PORT=');
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(stdout).toBe('');
    }
    holder.close();
  });

  it.each([
    [[], { MCP_SESSION_TTL_MS: '30m' }, 'MCP_SESSION_TTL_MS must be a whole number of milliseconds; got "30m"'],
    [[], { PORT: 'http' }, 'PORT must be a port from 0 to 65535; got "http"'],
    [[], { HOST: '192.0.2.1' }, 'HOST must be an address of this machine; got "192.0.2.1"'],
    [['--port', 'x'], {}, '--port must be a port from 0 to 65535; got "x"'],
    [['--prot', '1'], {}, "Unknown option '--prot'"],
    [['4000'], {}, "Unexpected argument '4000'"],
  ] as [string[], Record<string, string>, string][])(
    'stops a start with %j and %j by one line, and exits 1',
    async (args, env, message) => {
      const { code, stdout, stderr } = await processes.start(args, env).exited;
      expect(stderr).toContain(`Cannot start: ${message}`);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    },
  );

  describe('with a store', () => {
    const FOLDER = join(tmpdir(), `example-app-${process.pid}`);
    const file = (path: string) => ({ MCP_SESSION_STORE: 'file', MCP_SESSION_FILE: join(FOLDER, path) });
    beforeAll(() => mkdir(FOLDER));
    afterAll(() => rm(FOLDER, { recursive: true }));

    it('says why the file store cannot be opened, in one line, and exits 1', async () => {
      await writeFile(join(FOLDER, 'a-file'), 'not a database');
      const { app } = await running(file('sessions'));
      for (const [path, why] of [
        ['a-file', 'EEXIST'],
        ['sessions', 'IO error: lock'],
      ] as const) {
        const { code, stderr } = await processes.start(['--port', '0'], file(path)).exited;
        expect(code).toBe(1);
        expect(stderr).toContain(`Cannot start: MCP_SESSION_FILE: cannot open ${join(FOLDER, path)}: ${why}`);
        expect(stderr.trim().split('\n')).toHaveLength(1);
      }
      app.child.kill('SIGTERM');
      expect(await app.exited).toMatchObject({ code: 0 });
    });

    it.each([
      ['file', file('free')],
      ['redis', { MCP_SESSION_STORE: 'redis', MCP_REDIS_URL: 'redis://127.0.0.1:1' }],
    ])('%s does not keep it from exiting 1 when the port is in use', async (_kind, env) => {
      const { url } = await running();
      const { code, stderr } = await processes.start(['--port', new URL(url).port], env).exited;
      expect(stderr).toContain('is in use');
      expect(code).toBe(1);
    });
  });

  it('warns of an unknown MCP_ variable in its log, and starts', async () => {
    const { app, child, exited } = await running({ MCP_SESION_TTL_MS: '1', MCP_SERVICE_HOST: '10.0.0.1' });
    expect(
      await app.line('MCP_SESION_TTL_MS is not a variable of this app; did you mean MCP_SESSION_TTL_MS?'),
    ).toMatchObject({
      level: 40,
    });
    expect(await app.line('MCP_SERVICE_HOST is not a variable of this app')).toMatchObject({ level: 40 });
    child.kill('SIGTERM');
    await exited;
  });

  it('--help lists the variables and exits 0', async () => {
    const { code, stdout } = await processes.start(['--help']).exited;
    expect(code).toBe(0);
    expect(stdout).toContain('--port N');
    expect(stdout).toContain('MCP_SESSION_TTL_MS');
  });
});

describe('SIGTERM and SIGINT', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s lets a call finish, ends the GET stream and exits 0', async (signal) => {
    const { app, child, exited, url } = await running();
    const { client, listening } = await connect(url);
    await listening;
    let signalled = false;
    const result = await client.callTool({ name: 'countdown', arguments: { seconds: 2 } }, undefined, {
      onprogress: () => (signalled ||= child.kill(signal)),
    });
    expect(result.content).toEqual([{ type: 'text', text: 'Counted down from 2.' }]);
    expect(await app.line('stopping')).toMatchObject({ signal });
    expect(await exited).toMatchObject({ code: 0, signal: null });
    expect(await app.line('stopped')).toMatchObject({ level: 30 });
    await client.close();
  });

  it('ends what takes longer than MCP_DRAIN_TIMEOUT_MS, and exits 0', async () => {
    const { child, exited, url } = await running({ MCP_DRAIN_TIMEOUT_MS: '200' });
    const { client } = await connect(url);
    const started = performance.now();
    let signalled = false;
    const call = client.callTool({ name: 'countdown', arguments: { seconds: 30 } }, undefined, {
      onprogress: () => (signalled ||= child.kill('SIGTERM')),
    });
    await expect(call).rejects.toThrow();
    expect(await exited).toMatchObject({ code: 0 });
    expect(performance.now() - started).toBeLessThan(25_000);
    await client.close();
  });

  it('together are one wish, as a Ctrl-C comes from the terminal and from npm: the call still finishes', async () => {
    const { child, exited, url } = await running();
    const { client } = await connect(url);
    let signalled = false;
    const result = await client.callTool({ name: 'countdown', arguments: { seconds: 2 } }, undefined, {
      onprogress: () => (signalled ||= child.kill('SIGINT') && child.kill('SIGTERM')),
    });
    expect(result.content).toEqual([{ type: 'text', text: 'Counted down from 2.' }]);
    expect(await exited).toMatchObject({ code: 0 });
    await client.close();
  });

  it('a second one, later, exits at once', async () => {
    const { app, child, exited, url } = await running();
    const { client } = await connect(url);
    let signalled = false;
    const call = client
      .callTool({ name: 'countdown', arguments: { seconds: 30 } }, undefined, {
        onprogress: () => (signalled ||= child.kill('SIGTERM')),
      })
      .catch((error: unknown) => error);
    await app.line('stopping');
    await sleep(600);
    child.kill('SIGTERM');
    expect(await exited).toMatchObject({ code: 143 });
    await client.close();
    expect(await call).toBeInstanceOf(Error);
  });

  it('do not wait for sockets that send nothing more, with or without a part of a request', async () => {
    const parts = [
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n',
      '',
      'GET /healthz HTTP/1.1\r\nHost:',
      'POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
        'Accept: application/json, text/event-stream\r\nContent-Length: 9\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n',
    ];
    const { child, exited, url } = await running({ MCP_DRAIN_TIMEOUT_MS: '1000' });
    const sockets = parts.map(() => connectSocket(Number(new URL(url).port), '127.0.0.1'));
    for (const [n, socket] of sockets.entries()) {
      socket.on('error', () => undefined).resume();
      await once(socket, 'connect');
      await new Promise((resolve) => socket.write(parts[n]!, resolve));
    }
    // Answered after those bytes were read, as both came in on the same event loop.
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    child.kill('SIGTERM');
    // The client keeps its sockets open. The app must destroy them, or it never exits.
    expect(await soon('the app has ended', exited)).toMatchObject({ code: 0 });
    for (const socket of sockets) socket.destroy();
  });
});
